//! Whatever comes, in whatever order and size: no panic, and no control character on the screen.

use fracta::control::wire::Watch;
use fracta::session::state::State;
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::tests::with;
use super::{after_layout, update};
use crate::tui::msg::Msg;
use crate::tui::testing::{agent, asking, event};
use crate::tui::view;

fn any_key() -> impl Strategy<Value = Msg> {
    let code = prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        proptest::sample::select("jkgGhlixanrsdmwyzoA12:/?q ]['y".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        proptest::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::F(1),
        ]),
    ];
    (code, proptest::sample::select(vec![0u8, 0, 0, 1, 2, 4]))
        .prop_map(|(code, mods)| Msg::Key(KeyEvent::new(code, KeyModifiers::from_bits_truncate(mods))))
}

fn any_msg() -> impl Strategy<Value = Msg> {
    let name = proptest::sample::select(vec!["a", "b", "c"]);
    let state = proptest::sample::select(vec![
        State::Queued,
        State::Running,
        State::Waiting,
        State::Idle,
        State::Failed,
        State::Unknown,
    ]);
    let watch = (name.clone(), state, any::<String>(), any::<bool>()).prop_map(|(n, s, text, ask)| {
        let mut a = agent(n, s);
        a.activity = text.clone();
        a.reason = Some(text.clone());
        let a = if ask { asking(a, "p", &text) } else { a };
        Msg::Watch(Watch::Agent { agent: Box::new(a) })
    });
    let gone = name
        .clone()
        .prop_map(|n| Msg::Watch(Watch::Gone { name: n.parse().unwrap(), session: format!("s-{n}") }));
    let events = (name.clone(), 0u64..40, any::<String>()).prop_map(|(n, k, text)| Msg::Events {
        session: format!("s-{n}"),
        events: vec![event(n, k + 1, fracta::event::Body::Warning { text })],
    });
    let diff = (name, any::<String>()).prop_map(|(n, diff)| Msg::Diff {
        name: n.into(),
        result: Ok(fracta::control::wire::Diff { base: "m".into(), diff, files: vec![], truncated: true }),
    });
    prop_oneof![
        10 => any_key(),
        1 => any::<String>().prop_map(Msg::Paste),
        2 => (0u16..130, 0u16..40).prop_map(|(w, h)| Msg::Resize(w, h)),
        3 => watch,
        1 => gone,
        2 => events,
        1 => diff,
        1 => any::<String>().prop_map(Msg::LinkLost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_nothing_leaves_the_screen(msgs in proptest::collection::vec(any_msg(), 1..60)) {
        let mut m = with(vec![agent("a", State::Idle)]);
        for msg in msgs {
            update(&mut m, msg);
            view::layout(&mut m);
            after_layout(&mut m);
            let area = ratatui::layout::Rect::new(0, 0, m.size.0, m.size.1);
            let mut buf = ratatui::buffer::Buffer::empty(area);
            let cursor = view::draw(&m, &mut buf);
            if let Some(c) = cursor {
                prop_assert!(area.contains(c), "{c:?} in {area:?}");
            }
            for cell in buf.content() {
                prop_assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
            }
        }
    }
}
