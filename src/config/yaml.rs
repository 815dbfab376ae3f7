//! YAML text to a tree in which every node knows its place. All use of the YAML library is in this file.
//!
//! YAML 1.2's core rules: `yes`, `no`, `on` and `off` are strings. Aliases share their node, so a bomb of
//! aliases costs no memory here, and [`MAX_NODES`] bounds what walking the tree costs.

use std::collections::HashMap;
use std::rc::Rc;

use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, Tag};

use super::diagnostic::{Place, Problem, item, join, quote, widths};

/// Nodes of a file, keys among them, each alias counted as often as it is used.
const MAX_NODES: usize = 20_000;
/// Levels of nesting; what fracta.yaml needs is under 12.
const MAX_DEPTH: usize = 48;

/// A node and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub data: Data,
    /// Nodes in it, with itself.
    size: usize,
    /// Levels in it, with itself.
    depth: usize,
}

/// What a node holds. Scalars keep their text where the type may turn out wrong.
#[derive(Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is no `i64`, as it is written.
    Number(String),
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key with its value. Keys are unique within a map; merged ones (`<<`) keep their own places.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Rc<Node>,
}

impl Node {
    /// "a number", for messages that must not show the value.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Int(_) | Data::Number(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// "the number 3", for messages.
    pub fn describe(&self) -> String {
        match &self.data {
            Data::Bool(b) => format!("{b}"),
            Data::Int(n) => format!("the number {n}"),
            Data::Number(n) => format!("the number {}", clip(n)),
            Data::Text(t) => format!("the text {}", quote(t)),
            _ => self.kind().to_owned(),
        }
    }
}

/// Cuts a number's text; it holds no other characters than a number may.
fn clip(number: &str) -> &str {
    number.get(..40).unwrap_or(number)
}

/// Reads the one document of a text. Problems that leave the tree whole (a key given twice) are added to
/// `problems`; others end it, and there is no tree.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Rc<Node>> {
    let widths = widths(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder =
        Builder { widths, problems, open: Vec::new(), anchors: HashMap::new(), root: None, documents: 0 };
    while let Some(next) = parser.next_event() {
        let more = match next {
            Ok((event, span)) => builder.event(event, span),
            Err(e) => {
                let place = builder.place(*e.marker());
                Err(Problem::error(Some(place), "", format!("not YAML: {}", e.info()))
                    .hint(tab_hint(text, place)))
            }
        };
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(problem) => {
                builder.problems.push(problem);
                return None;
            }
        }
    }
    builder.root
}

/// The parser's words about tabs are hard to read; the place is at or after the tab on the same line.
fn tab_hint(text: &str, place: Place) -> Option<String> {
    let line = text.lines().nth(place.line - 1)?;
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    line[..indent].contains('\t').then(|| "indent with spaces, not tabs".to_owned())
}

/// A collection whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    kind: Kind,
    size: usize,
    depth: usize,
}

enum Kind {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, index: HashMap<String, usize>, merges: Vec<Rc<Node>>, key: Key },
}

/// The key that waits for its value.
enum Key {
    None,
    Text(String, Place),
    /// `<<`
    Merge,
    /// Already reported; its value is dropped.
    Bad,
}

struct Builder<'a> {
    widths: Vec<usize>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    /// None: the anchor's own node is still open.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    root: Option<Rc<Node>>,
    documents: usize,
}

impl Builder<'_> {
    fn place(&self, mark: Marker) -> Place {
        // Places are kept within the file whatever the parser says of its end.
        let line = mark.line().clamp(1, self.widths.len());
        let width = self.widths.get(line - 1).copied().unwrap_or(0);
        let column = if line < mark.line() { width } else { mark.col().min(width) };
        Place { line, column: column + 1 }
    }

    /// False: the stream has ended.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<bool, Problem> {
        let place = self.place(span.start);
        match event {
            Event::StreamEnd => return Ok(false),
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = "keep one, without `---` lines between";
                    return Err(Problem::error(
                        Some(place),
                        "",
                        "a second YAML document starts here; a configuration is one",
                    )
                    .hint(Some(hint.to_owned())));
                }
            }
            Event::Alias(id) => {
                let node = match self.anchors.get(&id) {
                    Some(Some(node)) => Rc::clone(node),
                    _ => {
                        return Err(Problem::error(
                            Some(place),
                            self.path(),
                            "an alias inside of what it stands for",
                        ));
                    }
                };
                self.add(node, place)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let data = scalar(&text, style, tag.as_deref())
                    .map_err(|m| Problem::error(Some(place), self.path(), m))?;
                let node = Rc::new(Node { place, data, size: 1, depth: 1 });
                self.name(anchor, Some(&node));
                self.add(node, place)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(place, anchor, tag.as_deref(), Kind::List(Vec::new()))?
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = Kind::Map {
                    entries: Vec::new(),
                    index: HashMap::new(),
                    merges: Vec::new(),
                    key: Key::None,
                };
                self.start(place, anchor, tag.as_deref(), kind)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let (anchor, place) = (open.anchor, open.place);
                    let node = Rc::new(self.close(open));
                    self.name(anchor, Some(&node));
                    self.add(node, place)?;
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn name(&mut self, anchor: usize, node: Option<&Rc<Node>>) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.map(Rc::clone));
        }
    }

    fn start(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, kind: Kind) -> Result<(), Problem> {
        let own = match kind {
            Kind::List(_) => "seq",
            Kind::Map { .. } => "map",
        };
        if tag.is_some_and(|t| t.core_suffix() != Some(own) && t.suffix() != "!") {
            return Err(Problem::error(
                Some(place),
                self.path(),
                "YAML tags have no meaning here; remove it",
            ));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::error(Some(place), "", format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.name(anchor, None);
        self.open.push(Open { place, anchor, kind, size: 1, depth: 1 });
        Ok(())
    }

    /// The path of the node that comes next, for messages.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.kind {
                Kind::List(items) => path = item(&path, items.len()),
                Kind::Map { key: Key::Text(key, _), .. } => path = join(&path, key),
                Kind::Map { .. } => {}
            }
        }
        path
    }

    fn add(&mut self, node: Rc<Node>, place: Place) -> Result<(), Problem> {
        let path = self.path();
        let Some(top) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        top.size = top.size.saturating_add(node.size);
        top.depth = top.depth.max(node.depth + 1);
        if top.size > MAX_NODES || top.depth > MAX_DEPTH {
            let what = if top.size > MAX_NODES {
                format!("more than {MAX_NODES} values")
            } else {
                format!("nested deeper than {MAX_DEPTH} levels")
            };
            return Err(Problem::error(
                Some(place),
                path,
                format!("{what}, counting each alias as what it stands for"),
            ));
        }
        match &mut top.kind {
            Kind::List(items) => items.push(node),
            Kind::Map { entries, index, merges, key } => match std::mem::replace(key, Key::None) {
                Key::None => *key = take_key(&node, place, path, entries, index, self.problems),
                Key::Text(key, place) => {
                    index.insert(key.clone(), entries.len());
                    entries.push(Entry { key, place, value: node });
                }
                Key::Merge => merges.push(node),
                Key::Bad => {}
            },
        }
        Ok(())
    }

    fn close(&mut self, open: Open) -> Node {
        let Open { place, kind, mut size, depth, .. } = open;
        let data = match kind {
            Kind::List(items) => Data::List(items),
            Kind::Map { mut entries, mut index, merges, .. } => {
                for merge in &merges {
                    let sources = match &merge.data {
                        Data::List(items) => items.as_slice(),
                        _ => std::slice::from_ref(merge),
                    };
                    for source in sources {
                        let Data::Map(merged) = &source.data else {
                            let message =
                                format!("`<<` takes a map or a list of maps, here is {}", source.describe());
                            self.problems.push(Problem::error(Some(merge.place), self.path(), message));
                            continue;
                        };
                        for entry in merged {
                            if !index.contains_key(&entry.key) {
                                index.insert(entry.key.clone(), entries.len());
                                size = size.saturating_add(entry.value.size);
                                entries.push(entry.clone());
                            }
                        }
                    }
                }
                Data::Map(entries)
            }
        };
        Node { place, data, size, depth }
    }
}

/// Makes a node the key of the next value, or says why it cannot be one.
fn take_key(
    node: &Node,
    place: Place,
    path: String,
    entries: &[Entry],
    index: &HashMap<String, usize>,
    problems: &mut Vec<Problem>,
) -> Key {
    let key = match &node.data {
        Data::Text(key) if key == "<<" => return Key::Merge,
        Data::Text(key) => key,
        other => {
            let hint = match other {
                Data::Int(n) => Some(format!("write \"{n}\":")),
                Data::Bool(b) => Some(format!("write \"{b}\":")),
                _ => None,
            };
            let message = format!("a key is text, here is {}", node.describe());
            problems.push(Problem::error(Some(place), path, message).hint(hint));
            return Key::Bad;
        }
    };
    match index.get(key).and_then(|i| entries.get(*i)) {
        Some(first) => {
            let message = format!("given twice, first at line {}", first.place.line);
            problems.push(Problem::error(Some(place), join(&path, key), message));
            Key::Bad
        }
        None => Key::Text(key.clone(), place),
    }
}

/// What a scalar means by YAML 1.2's core schema.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Data, String> {
    let plain = style == ScalarStyle::Plain;
    match tag {
        None if plain => Ok(plain_scalar(text)),
        None => Ok(Data::Text(text.to_owned())),
        Some(tag) => match tag.core_suffix() {
            Some("str") => Ok(Data::Text(text.to_owned())),
            Some("int" | "float" | "bool" | "null") => Ok(plain_scalar(text)),
            _ if tag.handle().is_empty() && tag.suffix() == "!" => Ok(Data::Text(text.to_owned())),
            _ => Err("YAML tags have no meaning here; remove it".to_owned()),
        },
    }
}

fn plain_scalar(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let based =
        |prefix: &str, radix| text.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, radix));
    match based("0x", 16).or_else(|| based("0o", 8)) {
        Some(Ok(n)) if !text[2..].starts_with(['+', '-']) => return Data::Int(n),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric {
        if let Ok(n) = text.parse::<i64>() {
            return Data::Int(n);
        }
        if text.parse::<f64>().is_ok() {
            return Data::Number(text.to_owned());
        }
    }
    match digits {
        ".inf" | ".Inf" | ".INF" => Data::Number(text.to_owned()),
        ".nan" | ".NaN" | ".NAN" if digits == text => Data::Number(text.to_owned()),
        _ => Data::Text(text.to_owned()),
    }
}

/// Writes a value as YAML, for people.
///
/// # Errors
/// The value cannot be written as YAML.
pub fn to_yaml<T: serde::Serialize>(value: &T) -> Result<String, serde_yaml::ser::Error> {
    serde_yaml::to_string(value)
}
