//! Whatever comes in whatever order: nothing panics, the books are right, a scrolled view stays.

use proptest::prelude::*;

use super::*;

/// Any event, of few items, so that they meet in any order.
fn any_fact() -> impl Strategy<Value = Fact> {
    let item = || "[ab]";
    let text = prop_oneof![
        "[a-z \n`*#>|-]{0,60}",
        ".{0,40}",
        Just("\x1b[31m\x1b]0;x世界👩‍👩‍👧\u{202e}\r\n\t".to_owned())
    ];
    let text = text.boxed();
    prop_oneof![
        (item(), text.clone()).prop_map(|(i, t)| say(&i, &t)),
        (item(), text.clone()).prop_map(|(i, t)| said(&i, &t)),
        (item(), text.clone()).prop_map(|(item, text)| Fact::ReasoningDelta { item, text }),
        (item(), text.clone()).prop_map(|(i, t)| run(&i, &t)),
        (item(), text.clone()).prop_map(|(i, t)| output(&i, &t)),
        (item(), text.clone()).prop_map(|(i, t)| ran(&i, &t, Some(1))),
        (item(), text.clone()).prop_map(|(item, path)| Fact::FileChanged {
            item,
            diff: Some(format!("+{path}\n-x")),
            path,
            change: Change::Added
        }),
        (item(), text.clone()).prop_map(|(item, t)| Fact::ToolCompleted {
            item,
            name: t.clone(),
            input: serde_json::json!({"x": t, "y": 1}),
            output: serde_json::json!([t]),
            error: Some(t)
        }),
        item().prop_map(|i| ask(&i)),
        item().prop_map(|approval| Fact::ApprovalResolved {
            approval,
            decision: Decision::Approved,
            by: "x".into()
        }),
        text.clone().prop_map(|text| Fact::Error { text, retryable: Some(true) }),
        text.clone().prop_map(|text| Fact::Raw { text }),
        text.prop_map(|text| Fact::PlanUpdated(Plan {
            steps: vec![PlanStep { text, status: PlanStatus::Pending }]
        })),
        Just(Fact::TurnStarted {}),
        Just(Fact::TurnCompleted { outcome: Outcome::Completed, error: None }),
    ]
}

#[derive(Debug, Clone)]
enum Act {
    Event(Fact),
    Scroll(isize),
    Size(u16, u16),
    Next,
    Prev,
    Fold,
    FoldAll,
    Home,
    Follow,
    Ask,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any_fact().prop_map(Act::Event),
        2 => (-30isize..30).prop_map(Act::Scroll),
        1 => (0u16..90, 0u16..30).prop_map(|(w, h)| Act::Size(w, h)),
        1 => Just(Act::Next),
        1 => Just(Act::Prev),
        1 => Just(Act::Fold),
        1 => Just(Act::FoldAll),
        1 => Just(Act::Home),
        1 => Just(Act::Follow),
        1 => Just(Act::Ask),
    ]
}

/// What must hold after every act.
fn check(t: &Transcript, width: u16, height: u16) {
    let total: usize = t.cards.iter().map(|c| c.height).sum();
    assert_eq!(t.total, total);
    if let Some(at) = t.index_of(t.anchor.0) {
        let above: usize = t.cards.iter().take(at).map(|c| c.height).sum();
        assert_eq!(t.above, above, "rows above the anchor");
    }
    assert_eq!(t.bytes, t.cards.iter().map(Card::bytes).sum::<usize>());
    for cell in &buffer(t, width, height).content {
        assert!(fracta::text::is_clean(cell.symbol()), "{:?}", cell.symbol());
    }
    for row in t
        .cards
        .iter()
        .filter_map(|c| c.wrapped.as_ref().filter(|w| w.width == t.width))
        .flat_map(|w| w.body.iter().chain(&w.head))
    {
        assert!(row.width() <= t.width.max(2), "{row:?} in {}", t.width);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_books_are_right(acts in prop::collection::vec(any_act(), 0..40)) {
        let mut t = Transcript::new(&Theme::default_ansi());
        let (mut w, mut h, mut seq) = (40, 10, 0);
        for act in acts {
            match act {
                Act::Event(body) => {
                    seq += 1;
                    t.apply(&event(seq, body));
                }
                Act::Scroll(n) => t.scroll(n),
                Act::Size(x, y) => (w, h) = (x, y),
                Act::Next => t.select_next(),
                Act::Prev => t.select_prev(),
                Act::Fold => t.toggle_fold(),
                Act::FoldAll => t.toggle_all(),
                Act::Home => t.scroll_home(),
                Act::Follow => t.follow(),
                Act::Ask => drop(t.focus_approval("a")),
            }
            t.layout(w, h);
            check(&t, w, h);
        }
    }

    /// A scrolled view shows the same rows whatever comes behind, above (an earlier page) or to the
    /// cards above it.
    #[test]
    fn a_scrolled_view_stays(
        up in 4isize..60,
        later in prop::collection::vec(any_fact(), 1..20),
        earlier in prop::collection::vec(any_fact(), 1..20),
        width in 20u16..90,
    ) {
        let mut t = Transcript::new(&Theme::mono());
        // `a` and `b` are above what is looked at, and change later.
        let base = [said("a", "first"), run("b", "make")].into_iter()
            .chain((0..40).map(|n| said(&format!("m{n}"), &format!("text {n} which may well wrap on a narrow screen"))));
        let mut seq = 100;
        for body in base {
            seq += 1;
            t.apply(&event(seq, body));
        }
        t.layout(width, 12);
        t.scroll(-up);
        // Not among the cards that change.
        if t.anchor.0 < 2 {
            return Ok(());
        }
        prop_assert!(!t.following());
        let before = rows(&t, width, 12);
        for body in later {
            seq += 1;
            t.apply(&event(seq, body));
            t.layout(width, 12);
            prop_assert_eq!(&before, &rows(&t, width, 12));
        }
        let page: Vec<Event> = earlier.into_iter().enumerate().map(|(n, b)| event(n as u64 + 1, b)).collect();
        t.prepend(&page);
        t.layout(width, 12);
        check(&t, width, 12);
        prop_assert_eq!(&before, &rows(&t, width, 12));
    }
}
