//! The model: everything the screen is made of. It is changed by [`super::update::update`] only
//! (and by layout, which caches what depends on the size).

use std::collections::{BTreeMap, HashMap};

use fracta::control::wire::{Agent, Runtime, Spawn};
use fracta::runtime::{Capabilities, Mode};
use fracta::session::state::State;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::style::Style;
use ratatui_textarea::{TextArea, WrapMode};

use super::cards::Transcript;
use super::keymap::KeyMap;
use super::list::List;
use super::overlay::Overlay;
use super::prompt::Prompt;
use super::theme::Theme;

/// From how many columns list and session stand side by side.
pub const WIDE: u16 = 100;
/// Transcripts kept for going back and forth (law 1).
const SESSIONS: usize = 4;

/// Who has the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    List,
    Session,
    Input,
}

/// The link to the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Connecting,
    Up,
    /// Broken, and tried again; what the screen shows is from before.
    Lost(String),
}

/// The stream of a session's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    Loading,
    Live,
    Lost(Option<String>),
    /// The server has no such session any more.
    Gone,
}

/// An open session.
pub struct Session {
    pub id: String,
    pub transcript: Transcript,
    pub stream: Stream,
    /// An earlier page is on its way.
    pub fetching: bool,
    /// `first_seq` at which asking for more brought nothing.
    pub exhausted: Option<u64>,
    /// What the server was last told is seen.
    pub seen: u64,
}

/// How a note is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Good,
    Bad,
}

/// One line at the foot, until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    pub text: String,
}

/// What Enter would do with the text, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Into the running turn.
    Steer,
    /// A message; the text says when it goes out.
    Say(String),
    /// Answers the questions of this approval.
    Answer(String),
    /// Nothing can be sent.
    No(String),
}

/// Appearance and behaviour, from config and environment.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of a theme; none: `default`.
    pub theme: Option<String>,
    /// `ui.keys`: action name → its keys.
    pub keys: BTreeMap<String, Vec<String>>,
    /// Report the mouse to fracta (the terminal's own selection then needs shift).
    pub mouse: bool,
    /// Bell and OSC 9 when an agent newly needs a person and the terminal is not looked at.
    pub notify: bool,
    /// A line under the title, for `fracta demo`.
    pub banner: Option<String>,
    /// Agents to start as soon as the screen is there, for `fracta demo`.
    pub spawns: Vec<Spawn>,
    /// No colours whatever the theme (`NO_COLOR` and `TERM=dumb` do the same).
    pub no_color: bool,
}

/// See the module's description.
pub struct Model {
    pub size: (u16, u16),
    pub theme: Theme,
    pub no_color: bool,
    pub keys: KeyMap,
    pub notify: bool,
    pub banner: Option<String>,
    pub zone: TimeZone,
    /// The wall clock as of the last message; set by the loop.
    pub now: Timestamp,
    pub at: String,
    pub link: Link,
    pub list: List,
    /// Most recently shown last.
    pub sessions: Vec<Session>,
    pub focus: Focus,
    pub overlay: Option<Overlay>,
    pub prompt: Option<Prompt>,
    pub input: TextArea<'static>,
    /// Texts not sent yet, by session.
    pub drafts: HashMap<String, String>,
    /// The selected session, whose draft `input` holds.
    pub current: Option<String>,
    /// The session whose events were asked for last.
    pub streaming: Option<String>,
    pub note: Option<Note>,
    pub runtimes: Option<Vec<Runtime>>,
    pub history: Vec<String>,
    /// The terminal's window has the keyboard.
    pub looked_at: bool,
    /// Names of agents that are being started and that no key asked for: they take no selection.
    pub unasked: Vec<String>,
    /// The approval that the input answers, where an agent has several with questions.
    pub answering: Option<String>,
    /// The card to focus when it is there: session and approval.
    pub wanted: Option<(String, String)>,
}

/// An empty text area as every input of the screen has it.
pub fn text_area(text: &str) -> TextArea<'static> {
    let mut t = TextArea::new(text.split('\n').map(str::to_owned).collect());
    t.set_cursor_line_style(Style::new());
    t.set_cursor_style(Style::new());
    t.set_wrap_mode(WrapMode::WordOrGlyph);
    t.set_max_histories(50);
    t.set_tab_length(4);
    t.move_cursor(ratatui_textarea::CursorMove::Bottom);
    t.move_cursor(ratatui_textarea::CursorMove::End);
    t
}

impl Model {
    pub fn new(options: &Options, keys: KeyMap, theme: Theme, zone: TimeZone, at: String) -> Self {
        Self {
            size: (80, 24),
            theme,
            no_color: options.no_color,
            keys,
            notify: options.notify,
            banner: options.banner.clone(),
            zone,
            now: Timestamp::UNIX_EPOCH,
            at,
            link: Link::Connecting,
            list: List::default(),
            sessions: Vec::new(),
            focus: Focus::List,
            overlay: None,
            prompt: None,
            input: text_area(""),
            drafts: HashMap::new(),
            current: None,
            streaming: None,
            note: None,
            runtimes: None,
            history: Vec::new(),
            looked_at: true,
            answering: None,
            wanted: None,
            unasked: options.spawns.iter().map(|s| s.name.clone()).collect(),
        }
    }

    /// List and session stand side by side.
    pub fn wide(&self) -> bool {
        self.size.0 >= WIDE
    }

    /// The session area is on the screen.
    pub fn shows_session(&self) -> bool {
        self.wide() || self.focus != Focus::List
    }

    pub fn note(&mut self, level: Level, text: impl Into<String>) {
        self.note = Some(Note { level, text: text.into() });
    }

    /// The open session of an id.
    pub fn session_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.id == id)
    }

    /// The session that is (or would be) on the screen.
    pub fn shown(&self) -> Option<&Session> {
        let id = self.current.as_ref()?;
        self.sessions.iter().find(|s| s.id == *id)
    }

    pub fn shown_mut(&mut self) -> Option<&mut Session> {
        let id = self.current.as_ref()?;
        self.sessions.iter_mut().find(|s| s.id == *id)
    }

    /// Makes `id` the shown session; returns the number to go on after, where its transcript is kept.
    pub fn open(&mut self, id: &str) -> Option<u64> {
        let (unread, last) = self.list.get(id).map_or((0, 0), |a| (a.unread, a.last_seq));
        if let Some(at) = self.sessions.iter().position(|s| s.id == id) {
            let mut s = self.sessions.remove(at);
            let kept = s.transcript.last_seq();
            // Far behind: the last page anew is less work than everything in between.
            if kept == 0 || last.saturating_sub(kept) > super::effects::PAGE {
                s.transcript = Transcript::new(&self.theme).unseen_after(last.saturating_sub(unread));
                s.exhausted = None;
            }
            s.stream = Stream::Loading;
            s.fetching = false;
            let kept = s.transcript.last_seq();
            self.sessions.push(s);
            return (kept > 0).then_some(kept);
        }
        if self.sessions.len() >= SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(Session {
            id: id.to_owned(),
            transcript: Transcript::new(&self.theme).unseen_after(last.saturating_sub(unread)),
            stream: Stream::Loading,
            fetching: false,
            exhausted: None,
            seen: if unread == 0 { last } else { 0 },
        });
        None
    }

    /// Why a runtime cannot be steered, or that it can. None: not known (yet).
    pub fn steers(&self, runtime: &str) -> Option<Result<(), String>> {
        let r = self.runtimes.as_ref()?.iter().find(|r| r.name == runtime)?;
        r.capabilities.as_ref().map(|c| c.steer.clone())
    }

    /// Whether a runtime can do something; yes, as long as it is not known.
    fn can(&self, runtime: &str, what: impl Fn(&Capabilities) -> bool) -> bool {
        let known = self.runtimes.as_ref().and_then(|all| all.iter().find(|r| r.name == runtime));
        known.and_then(|r| r.capabilities.as_ref()).is_none_or(what)
    }

    /// What Enter in the input does for an agent.
    pub fn route(&self, agent: &Agent) -> Route {
        if agent.killed {
            return Route::No(format!("{} was killed: only its journal is left", agent.name));
        }
        let mut asks = agent.pending_approvals.iter().filter(|p| p.questions.is_some());
        let meant = asks.clone().find(|p| Some(&p.id) == self.answering.as_ref());
        if let Some(p) = meant.or_else(|| asks.next()) {
            return Route::Answer(p.id.clone());
        }
        match agent.state {
            State::Running | State::Waiting => match (agent.mode, self.steers(&agent.runtime)) {
                (Mode::Batch, _) => {
                    Route::Say("goes out when the turn ends: a batch turn takes no steering".into())
                }
                (Mode::Stream, Some(Ok(()))) => Route::Steer,
                (Mode::Stream, Some(Err(why))) => Route::Say(format!("goes out when the turn ends: {why}")),
                (Mode::Stream, None) => Route::Say(format!(
                    "goes out when the turn ends: not known whether {} steers",
                    agent.runtime
                )),
            },
            State::Queued | State::Starting => Route::Say("goes out when the agent is ready".into()),
            State::Unknown => Route::Say("its state is not known; the answer says what became of it".into()),
            State::Idle => Route::Say("starts a turn".into()),
            State::Completed | State::Failed | State::Stopped if !self.can(&agent.runtime, |c| c.resume) => {
                Route::No(format!("{} resumes no session; `:spawn` starts a new agent", agent.runtime))
            }
            State::Completed | State::Failed | State::Stopped => {
                Route::Say("resumes the session with a new turn".into())
            }
        }
    }

    /// A time as a clock shows it, with the day where it is not today's: needs no ticking.
    pub fn clock(&self, ts: Timestamp) -> String {
        let then = ts.to_zoned(self.zone.clone());
        let today = self.now.to_zoned(self.zone.clone()).date();
        if then.date() == today {
            format!("{:02}:{:02}", then.hour(), then.minute())
        } else {
            format!("{:02}-{:02}", then.month(), then.day())
        }
    }
}
