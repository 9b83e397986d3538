//! The configuration as written: which value each key got, and where. Knows the form of values —
//! string, number, list — and not their meaning.

use super::fault::{Fault, quoted};
use super::keys::{self, Key, Kind, Sample};
use super::place::Place;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// One item of a list, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The item.
    pub text: String,
    /// Where it was written.
    pub place: Place,
}

/// A value, in the form that its key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::Text`] and [`Kind::Quantity`].
    Text(String),
    /// For [`Kind::Count`].
    Count(u64),
    /// For [`Kind::Flag`].
    Flag(bool),
    /// For [`Kind::List`].
    List(Vec<Item>),
}

/// A value, and where it was written last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub place: Place,
}

/// What was written, the last word of each key.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    written: BTreeMap<&'static str, Written>,
}

impl Raw {
    /// What was written for a key, if anything was.
    #[must_use]
    pub fn written(&self, key: &Key) -> Option<&Written> {
        self.written.get(key.path)
    }

    /// What counts for a key: what was written, else its default; `None` where it has none.
    #[must_use]
    pub fn value(&self, key: &Key) -> Option<Written> {
        let default = || Some(Written { value: of_sample(key.default.as_ref()?), place: Place::Default });
        self.written(key).cloned().or_else(default)
    }

    /// Sets a key, over what was written before.
    pub fn set(&mut self, key: &'static Key, value: Value, place: Place) {
        self.written.insert(key.path, Written { value, place });
    }

    /// Takes the text of a file. With an error of syntax nothing of it counts: what follows the error
    /// may mean something else than its writer thinks.
    pub fn read_file(&mut self, path: &Path, text: &str, faults: &mut Vec<Fault>) {
        let mut walk = Walk { path: path.into(), text, raw: self, faults };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            walk.table(table.get_ref(), "");
        } else {
            walk.syntax(&errors);
        }
    }

    /// Takes the environment: every variable whose name begins with [`keys::PREFIX`].
    pub fn read_environment<I>(&mut self, environment: I, faults: &mut Vec<Fault>)
    where
        I: IntoIterator<Item = (OsString, OsString)>,
    {
        // Sorted, so that faults come in the same order each time; the log's own variable is last,
        // since it is the one that counts.
        let mut ours: Vec<_> = environment
            .into_iter()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(keys::PREFIX.as_bytes()))
            .collect();
        ours.sort_by_key(|(name, _)| (name == keys::LOG_VARIABLE, name.clone()));
        for (name, value) in ours {
            let name = name.to_string_lossy().into_owned();
            let place = Place::Environment(name.clone());
            if is_of_an_orchestrator(&name) {
                continue;
            }
            let is_log = name == keys::LOG_VARIABLE;
            let key = keys::ALL
                .iter()
                .find(|key| if is_log { key.path == keys::LOG_FILTER.path } else { key.variable() == name });
            let Some(key) = key else {
                faults.push(unknown_variable(place));
                continue;
            };
            match value.into_string() {
                // As other programs treat the variable of their log filter.
                Ok(value) if is_log && value.is_empty() => {}
                Ok(value) => match of_text(key, &value, &place) {
                    Ok(value) => self.set(key, value, place),
                    Err(fault) => faults.push(fault),
                },
                Err(_) => faults.push(Fault::of_value(&place, key, "is not UTF-8", &key.example)),
            }
        }
    }
}

fn unknown_variable(place: Place) -> Fault {
    let Place::Environment(name) = &place else {
        return Fault { place, key: None, wrong: "is not known".into(), instead: "remove it".into() };
    };
    let instead = if name == "PILLARBOX_CONFIG" {
        "name the file with the option --config FILE".to_owned()
    } else {
        format!("did you mean {}? Else unset it", keys::nearest_variable(name))
    };
    Fault { wrong: "is not a variable of the configuration".into(), instead, key: None, place }
}

/// Kubernetes sets these in every container beside a service that is called `pillarbox`; they are
/// nobody's spelling mistakes.
fn is_of_an_orchestrator(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(keys::PREFIX) else { return false };
    let port = |rest: &str| {
        rest.split('_').next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(rest, "PORT" | "SERVICE_HOST" | "SERVICE_PORT")
        || rest.starts_with("SERVICE_PORT_")
        || rest.strip_prefix("PORT_").is_some_and(port)
}

fn of_sample(sample: &Sample<'_>) -> Value {
    match sample {
        Sample::Text(text) => Value::Text((*text).to_owned()),
        Sample::Count(n) => Value::Count(*n),
        Sample::Flag(flag) => Value::Flag(*flag),
        Sample::List(items) => Value::List(
            items.iter().map(|item| Item { text: (*item).to_owned(), place: Place::Default }).collect(),
        ),
    }
}

/// The value of a variable, in the form that its key takes.
fn of_text(key: &Key, text: &str, place: &Place) -> Result<Value, Fault> {
    let wrong = |wants: &str| {
        Err(Fault::of_value(place, key, format!("{} is not {wants}", quoted(text)), &key.example))
    };
    match key.kind {
        Kind::Text | Kind::Quantity => Ok(Value::Text(text.to_owned())),
        Kind::Count => text.trim().parse().map(Value::Count).or_else(|_| wrong(key.kind.words())),
        Kind::Flag => match text.trim() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => wrong(key.kind.words()),
        },
        Kind::List if text.trim().is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => {
            let item = |text: &str| Item { text: text.trim().to_owned(), place: place.clone() };
            Ok(Value::List(text.split(',').map(item).collect()))
        }
    }
}

/// A number that TOML may have in another base, as whoever reads quantities wants it.
fn in_decimal(n: &DeInteger<'_>) -> String {
    u64::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| n.to_string(), |n| n.to_string())
}

/// What was probably meant by a path nobody knows: a table for a table, a key for a value.
fn nearest(path: &str, written: &DeValue<'_>) -> &'static str {
    if matches!(written, DeValue::Table(_)) { keys::nearest_table(path) } else { keys::nearest(path) }
}

/// One walk over one file.
struct Walk<'a> {
    path: Arc<Path>,
    text: &'a str,
    raw: &'a mut Raw,
    faults: &'a mut Vec<Fault>,
}

/// How many errors of syntax are told of one file; the later ones mostly come from the first.
const SYNTAX_ERRORS_MAX: usize = 5;

impl Walk<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = self.text.get(..offset).map(|before| before.matches('\n').count() + 1);
        Place::File { path: self.path.clone(), line, column: None }
    }

    fn syntax(&mut self, errors: &[toml::de::Error]) {
        let mut lines = Vec::new();
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start).min(self.text.len());
            let before = self.text.get(..offset).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            if lines.contains(&line) || lines.len() == SYNTAX_ERRORS_MAX {
                continue;
            }
            lines.push(line);
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let place = Place::File { path: self.path.clone(), line: Some(line), column: Some(column) };
            let message = error.message().trim().replace('\n', ", ");
            let instead = "write this line as TOML: key = \"text\", key = 5, key = [\"a\", \"b\"]".to_owned();
            self.faults.push(Fault { place, key: None, wrong: format!("not TOML: {message}"), instead });
        }
    }

    fn table(&mut self, table: &DeTable<'_>, above: &str) {
        // The order of the file, not of the alphabet: that is how its writer goes through the faults.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let leaf: &str = name.get_ref();
            let path = if above.is_empty() { leaf.to_owned() } else { format!("{above}.{leaf}") };
            let place = self.place(name.span().start);
            match (keys::by_path(&path), value.get_ref()) {
                (Some(key), _) => self.value(key, value, place),
                (None, DeValue::Table(inner)) if keys::is_table(&path) => self.table(inner, &path),
                (None, _) if keys::is_table(&path) => self.faults.push(Fault {
                    place,
                    wrong: "is a table of keys, not a value".into(),
                    instead: format!("write [{path}] on a line of its own and its keys below it"),
                    key: Some(path),
                }),
                (None, written) => self.faults.push(Fault {
                    place,
                    wrong: "is not a key of the configuration".into(),
                    instead: format!("did you mean {}?", nearest(&path, written)),
                    key: Some(quoted(&path).trim_matches('"').to_owned()),
                }),
            }
        }
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>, place: Place) {
        match self.form(key, value, &place) {
            Ok(value) => self.raw.set(key, value, place),
            Err(fault) => self.faults.push(fault),
        }
    }

    fn form(&self, key: &Key, value: &Spanned<DeValue<'_>>, place: &Place) -> Result<Value, Fault> {
        let fault = |wrong: String| Err(Fault::of_value(place, key, wrong, &key.example));
        match (key.kind, value.get_ref()) {
            (Kind::Text | Kind::Quantity, DeValue::String(text)) => Ok(Value::Text(text.to_string())),
            (Kind::Quantity, DeValue::Integer(n)) => Ok(Value::Text(in_decimal(n))),
            (Kind::Count, DeValue::Integer(n)) => match u64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Ok(Value::Count(n)),
                Err(_) => fault(format!("{n} is not a number that can be counted to")),
            },
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::List, DeValue::Array(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let DeValue::String(text) = item.get_ref() else {
                        let kind = item.get_ref().type_str();
                        let wrong =
                            format!("takes a list of strings, and this list holds a value of type {kind}");
                        return Err(Fault::of_value(
                            &self.place(item.span().start),
                            key,
                            wrong,
                            &key.example,
                        ));
                    };
                    list.push(Item { text: text.to_string(), place: self.place(item.span().start) });
                }
                Ok(Value::List(list))
            }
            (Kind::List, DeValue::String(text)) if !text.contains('"') => {
                let wrong = "takes a list of strings, and this is a string".to_owned();
                Err(Fault::new(place, key, wrong, format!("write {} = [\"{text}\"]", key.leaf())))
            }
            (kind, value) => {
                fault(format!("takes {}, and this is of type {}", kind.words(), value.type_str()))
            }
        }
    }
}
