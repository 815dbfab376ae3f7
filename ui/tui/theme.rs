//! Themes: named styles that every view uses. No view knows a colour.

use ratatui::style::{Color, Modifier, Style};

/// The styles of the screen, by what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Ordinary text.
    pub text: Style,
    /// What may be overlooked: ages, hints, paths.
    pub dim: Style,
    /// Names and headings of the screen.
    pub strong: Style,
    /// What is active: a running agent, the key of a hint.
    pub accent: Style,
    pub ok: Style,
    pub warn: Style,
    pub error: Style,
    /// What a person said.
    pub user: Style,
    pub code: Style,
    pub heading: Style,
    pub link: Style,
    /// Lines of a diff.
    pub added: Style,
    pub removed: Style,
    pub hunk: Style,
    pub border: Style,
    /// Rules of the area that has the keyboard.
    pub border_focused: Style,
    /// The selected row or card; patched over the style below.
    pub selection: Style,
    /// What a model thinks aloud.
    pub reasoning: Style,
    /// What waits for a person.
    pub approval: Style,
}

impl Theme {
    /// The names that [`Theme::named`] knows.
    pub const NAMES: &'static [&'static str] = &["default", "mono"];

    /// The 16 ANSI colours only, so that the terminal's own palette decides how it looks.
    pub const fn default_ansi() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Self {
            text: plain,
            dim: plain.fg(Color::DarkGray),
            strong: bold,
            accent: plain.fg(Color::Cyan),
            ok: plain.fg(Color::Green),
            warn: plain.fg(Color::Yellow),
            error: plain.fg(Color::Red),
            user: plain.fg(Color::Blue).add_modifier(Modifier::BOLD),
            code: plain.fg(Color::Cyan),
            heading: plain.fg(Color::Magenta).add_modifier(Modifier::BOLD),
            link: plain.fg(Color::Blue).add_modifier(Modifier::UNDERLINED),
            added: plain.fg(Color::Green),
            removed: plain.fg(Color::Red),
            hunk: plain.fg(Color::Cyan),
            border: plain.fg(Color::DarkGray),
            border_focused: plain.fg(Color::Cyan),
            selection: plain.add_modifier(Modifier::REVERSED),
            reasoning: plain.fg(Color::DarkGray).add_modifier(Modifier::ITALIC),
            approval: plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
        }
    }

    /// No colour at all: bold, reverse, underline and dim carry the meaning.
    pub const fn mono() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let dim = plain.add_modifier(Modifier::DIM);
        let underlined = plain.add_modifier(Modifier::UNDERLINED);
        Self {
            text: plain,
            dim,
            strong: bold,
            accent: bold,
            ok: plain,
            warn: bold,
            error: bold.add_modifier(Modifier::UNDERLINED),
            user: bold,
            code: plain,
            heading: bold.add_modifier(Modifier::UNDERLINED),
            link: underlined,
            added: bold,
            removed: dim,
            hunk: underlined,
            border: dim,
            border_focused: plain,
            selection: plain.add_modifier(Modifier::REVERSED),
            reasoning: dim,
            approval: bold.add_modifier(Modifier::UNDERLINED),
        }
    }

    /// The style of a gauge that stands at `n` of `limit`.
    pub fn gauge(&self, n: u32, limit: u32) -> Style {
        match n.saturating_mul(4) {
            _ if limit == 0 => self.dim,
            n if n >= limit.saturating_mul(3) => self.error,
            n if n >= limit => self.warn,
            _ => self.dim,
        }
    }

    /// The theme of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::default_ansi()),
            "mono" => Some(Self::mono()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styles(t: &Theme) -> [Style; 19] {
        [
            t.text,
            t.dim,
            t.strong,
            t.accent,
            t.ok,
            t.warn,
            t.error,
            t.user,
            t.code,
            t.heading,
            t.link,
            t.added,
            t.removed,
            t.hunk,
            t.border,
            t.border_focused,
            t.selection,
            t.reasoning,
            t.approval,
        ]
    }

    #[test]
    fn mono_has_no_colour() {
        for s in styles(&Theme::mono()) {
            assert_eq!((s.fg, s.bg, s.underline_color), (None, None, None));
        }
    }

    #[test]
    fn default_keeps_to_the_sixteen() {
        for s in styles(&Theme::default_ansi()) {
            for c in [s.fg, s.bg].into_iter().flatten() {
                assert!(!matches!(c, Color::Rgb(..) | Color::Indexed(_)), "{c:?}");
            }
        }
    }

    #[test]
    fn every_name_is_known() {
        for n in Theme::NAMES {
            assert!(Theme::named(n).is_some(), "{n}");
        }
        assert!(Theme::named("nope").is_none());
    }
}
