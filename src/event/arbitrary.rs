//! Events of every kind, for property tests.

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::session::state::State;

/// Text with a good share of what must not reach a terminal.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let c = prop_oneof![
        6 => any::<char>(),
        6 => prop::char::range(' ', '~'),
        1 => prop::char::range('\0', '\u{1f}'),
        1 => prop::char::range('\u{7f}', '\u{ad}'),
        1 => prop::char::range('\u{2000}', '\u{2070}'),
        1 => prop::char::range('\u{e0000}', '\u{e007f}'),
        1 => prop::sample::select(vec!['\n', '"', '\\', '\u{61c}', '\u{feff}', '\u{1f600}', '\u{fff9}', '\u{180e}']),
    ];
    vec(c, 0..40).prop_map(|c| c.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|kv| Value::Object(kv.into_iter().collect())),
        ]
    })
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Assistant, Role::Assistant, Role::User, Role::System])
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(vec![
        State::Queued,
        State::Starting,
        State::Running,
        State::Waiting,
        State::Idle,
        State::Completed,
        State::Failed,
        State::Stopped,
        State::Unknown,
    ])
}

/// Few different ones, so that they meet.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[abc]", 1 => text()]
}

fn said() -> BoxedStrategy<Body> {
    prop_oneof![
        (id(), role(), text()).prop_map(|(item, role, text)| Body::MessageDelta { item, role, text }),
        (id(), role(), text()).prop_map(|(item, role, text)| Body::MessageCompleted { item, role, text }),
        (id(), text()).prop_map(|(item, text)| Body::ReasoningDelta { item, text }),
        (id(), text()).prop_map(|(item, text)| Body::ReasoningCompleted { item, text }),
        text().prop_map(|text| Body::Warning { text }),
        (text(), of(any::<bool>())).prop_map(|(text, retryable)| Body::Error { text, retryable }),
        text().prop_map(|text| Body::Gap { text }),
        text().prop_map(|text| Body::Raw { text }),
        (
            id(),
            text(),
            prop::sample::select(vec![
                Delivery::Queued,
                Delivery::Accepted,
                Delivery::Rejected,
                Delivery::Unconfirmed
            ]),
            any::<bool>(),
            of(text())
        )
            .prop_map(|(item, text, delivery, steer, reason)| Body::UserMessage {
                item,
                text,
                delivery,
                steer,
                reason
            }),
    ]
    .boxed()
}

fn done() -> BoxedStrategy<Body> {
    let change =
        prop::sample::select(vec![Change::Added, Change::Modified, Change::Deleted, Change::Renamed]);
    let status =
        prop::sample::select(vec![PlanStatus::Pending, PlanStatus::InProgress, PlanStatus::Completed]);
    prop_oneof![
        (id(), text(), of(text())).prop_map(|(item, command, cwd)| Body::CommandStarted {
            item,
            command,
            cwd
        }),
        (id(), text()).prop_map(|(item, text)| Body::CommandOutput { item, text }),
        (id(), text(), of(text()), of(text()), of(any::<i64>())).prop_map(
            |(item, command, cwd, text, exit_code)| Body::CommandCompleted {
                item,
                command,
                cwd,
                text,
                exit_code
            }
        ),
        (id(), text(), value()).prop_map(|(item, name, input)| Body::ToolStarted { item, name, input }),
        (id(), text(), value(), value(), of(text())).prop_map(|(item, name, input, output, error)| {
            Body::ToolCompleted { item, name, input, output, error }
        }),
        (id(), text(), change, of(text())).prop_map(|(item, path, change, diff)| Body::FileChanged {
            item,
            path,
            change,
            diff
        }),
        vec((text(), status).prop_map(|(text, status)| PlanStep { text, status }), 0..4)
            .prop_map(|steps| Body::PlanUpdated(Plan { steps })),
        (any::<u64>(), any::<u64>(), 0..1u64 << 40, of(0..1u32 << 20), any::<bool>()).prop_map(
            |(input_tokens, cached_tokens, output_tokens, cost, total)| Body::Usage(Usage {
                input_tokens,
                cached_tokens,
                output_tokens,
                cost_usd: cost.map(|c| f64::from(c) / 1024.0),
                total
            })
        ),
        (any::<u32>(), any::<u32>()).prop_map(|(n, limit)| Body::Step { n, limit }),
    ]
    .boxed()
}

fn flow() -> BoxedStrategy<Body> {
    let outcome = prop::sample::select(vec![Outcome::Completed, Outcome::Interrupted, Outcome::Failed]);
    let decision = prop::sample::select(vec![Decision::Approved, Decision::Denied, Decision::Withdrawn]);
    prop_oneof![
        (text(), of(text()), of(text())).prop_map(|(runtime, model, resume_token)| Body::SessionStarted {
            runtime,
            model,
            resume_token
        }),
        Just(Body::TurnStarted {}),
        (outcome, of(text())).prop_map(|(outcome, error)| Body::TurnCompleted { outcome, error }),
        (id(), text(), of(text()), of(text()), of(text()), of(prop_oneof![Just(json!([])), value()]))
            .prop_filter("null questions read back as none", |t| t.5 != Some(Value::Null))
            .prop_map(|(approval, what, command, cwd, diff, questions)| Body::ApprovalRequested {
                approval,
                what,
                command,
                cwd,
                diff,
                questions
            }),
        (id(), decision, text()).prop_map(|(approval, decision, by)| Body::ApprovalResolved {
            approval,
            decision,
            by
        }),
        (state(), of(text())).prop_map(|(state, reason)| Body::SessionEnded { state, reason }),
    ]
    .boxed()
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    prop_oneof![said(), done(), flow()]
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let ms = prop_oneof![0..4_102_444_800_000i64, -62_167_219_200_000..253_402_300_799_000i64];
    (any::<u64>(), ms, text(), text(), of(id()), of(any::<u64>()), body()).prop_map(
        |(seq, ms, agent, session, turn, raw, body)| Event {
            seq,
            ts: Timestamp::from_millisecond(ms).unwrap(),
            agent,
            session,
            turn,
            raw,
            body,
        },
    )
}
