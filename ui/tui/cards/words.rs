//! Small words of cards: marks, numbers, times, questions.

use fracta::event::{PlanStatus, Usage};

pub fn tick(status: PlanStatus) -> &'static str {
    match status {
        PlanStatus::Completed => "✓",
        PlanStatus::InProgress => "▸",
        PlanStatus::Pending => "○",
    }
}

pub fn tokens(usage: &Usage) -> String {
    let k = |n: u64| match n {
        0..=999 => n.to_string(),
        1000..=999_999 => format!("{:.1}k", n as f64 / 1e3),
        _ => format!("{:.1}M", n as f64 / 1e6),
    };
    let whole = if usage.total { "session " } else { "" };
    let cost = usage.cost_usd.map_or(String::new(), |c| format!(" ${c:.2}"));
    format!("{whole}{} in {} out{cost}", k(usage.input_tokens), k(usage.output_tokens))
}

pub fn duration(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..=9_999 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        ms @ 10_000..=59_999 => format!("{}s", ms / 1000),
        ms @ 60_000..=3_599_999 => format!("{}m{:02}s", ms / 60_000, ms / 1000 % 60),
        ms => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// The questions of a request as lines: known shapes as text, others as JSON.
pub fn questions(value: &serde_json::Value) -> String {
    let field = |v: &serde_json::Value, names: &[&str]| {
        names.iter().find_map(|n| Some(v.get(n)?.as_str()?.to_owned()))
    };
    let list = value.as_array().or_else(|| value.get("questions")?.as_array());
    let said = list.and_then(|list| {
        let mut out = String::new();
        for q in list {
            out += &field(q, &["question", "text", "prompt"])?;
            out.push('\n');
            for option in q.get("options").and_then(|o| o.as_array()).into_iter().flatten() {
                let label =
                    option.as_str().map(str::to_owned).or_else(|| field(option, &["label", "name"]))?;
                let why = field(option, &["description"]).map_or(String::new(), |d| format!(": {d}"));
                out += &format!("  ○ {label}{why}\n");
            }
        }
        Some(out)
    });
    said.unwrap_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default())
}
