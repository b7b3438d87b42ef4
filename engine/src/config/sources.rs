//! Where settings come from: a TOML file, the environment and flags. A later one wins. Each value remembers its source,
//! so that an error and `check --print` can name it.
//!
//! This file does *not* own whether a value is acceptable: it finds only unknown keys and wrong types.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use ticklake_core::decode::Preset;

use super::Settings;
use crate::redact;

/// The file that is read when none is named and this one exists.
pub const DEFAULT_FILE: &str = "ticklake.toml";

const PRESET_KEY: &str = "decode.preset";

const ENVIRONMENT_PREFIX: &str = "TICKLAKE_";

/// A valid key with less similarity than this (Jaro-Winkler, 0 to 1) is not suggested.
const SIMILARITY_MIN: f64 = 0.75;

/// One key set outside the file: by a flag or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The full key: `epoch.rows_max`.
    pub key: String,
    /// A TOML value. If the key takes text, the quotes may be missing.
    pub value: String,
    /// The flag or the variable, as it is named in messages.
    pub origin: String,
}

/// The settings, and where each came from.
#[derive(Debug)]
pub struct Loaded {
    /// Every key, set or default.
    pub settings: Settings,
    /// Where the keys that were set came from.
    pub origins: Origins,
}

/// Where the keys that were set came from.
#[derive(Debug)]
pub struct Origins(Figment);

impl Origins {
    /// The file, variable or flag that set `key`; `None` where the default stands.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<&str> {
        self.0.find_metadata(key).map(|metadata| &*metadata.name)
    }

    /// Whether any key of this section was set.
    #[must_use]
    pub fn has(&self, section: &str) -> bool {
        self.0.find_value(section).is_ok()
    }
}

/// Why the settings could not be read. Each of them stops the process: the operator has to change something.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the fields are")]
pub enum SourceError {
    /// The file is missing or unreadable.
    #[error("failed to read the config file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not TOML.
    #[error("failed to parse the config file {}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    /// A key that does not exist.
    #[error("unknown key `{key}` in {origin}; {advice}")]
    UnknownKey { key: String, origin: String, advice: String },
    /// A value of the wrong type.
    #[error("wrong value for `{key}` in {origin}: {problem}")]
    WrongValue { key: String, origin: String, problem: String },
}

/// Reads `file` (or [`DEFAULT_FILE`], if it exists), and sets `assignments` over it: later ones win.
pub fn load(file: Option<&Path>, assignments: &[Assignment]) -> Result<Loaded, SourceError> {
    let mut figment = Figment::new();
    if let Some(layer) = read_file(file)? {
        figment = figment.merge(layer);
    }
    let defaults = Defaults::new();
    for assignment in assignments {
        if let Some(meant) = defaults.with_underscore_for_dot(&assignment.key) {
            let Assignment { key, origin, .. } = assignment.clone();
            let advice = format!("did you mean `{meant}`, in the environment {}?", variable(meant));
            return Err(SourceError::UnknownKey { key, origin, advice });
        }
        figment = figment.merge(defaults.layer(assignment));
    }
    let figment = with_preset(figment)?;
    match figment.extract() {
        Ok(settings) => Ok(Loaded { settings, origins: Origins(figment) }),
        Err(error) => Err(explain(&error, &figment, &defaults)),
    }
}

/// Puts the settings of the preset that `decode.preset` names below all that was set.
fn with_preset(figment: Figment) -> Result<Figment, SourceError> {
    let Ok(name) = figment.extract_inner::<String>(PRESET_KEY) else { return Ok(figment) };
    let Some(preset) = Preset::named(&name) else {
        // An empty name is none. Another one is refused with all other values.
        return Ok(figment);
    };
    let origin = format!("preset {name}");
    let settings = Value::serialize(preset.settings()).map_err(|error| SourceError::WrongValue {
        key: PRESET_KEY.to_owned(),
        origin: origin.clone(),
        problem: error.to_string(),
    })?;
    Ok(figment.join(Layer { origin, values: Dict::from([("decode".to_owned(), settings)]) }))
}

/// The assignments that environment variables make: `TICKLAKE_EPOCH__ROWS_MAX=1000` sets `epoch.rows_max`.
///
/// A variable without the double underscore is not ours: Kubernetes sets `TICKLAKE_PORT` and others for a service of
/// that name. But a key outside all sections has none. And `TICKLAKE_EPOCH_ROWS_MAX` is kept, so that [`load`] refuses
/// it.
pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Assignment> {
    let defaults = Defaults::new();
    let mut assignments: Vec<Assignment> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_ascii_lowercase().replace("__", ".");
            if !key.contains('.') && !defaults.0.contains_key(&key) {
                defaults.with_underscore_for_dot(&key)?;
            }
            Some(Assignment { key, value, origin: format!("environment variable {name}") })
        })
        .collect();
    assignments.sort_by(|a, b| a.key.cmp(&b.key));
    assignments
}

/// The name of the environment variable that sets `key`.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn read_file(named: Option<&Path>) -> Result<Option<Layer>, SourceError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(source) => return Err(SourceError::Read { path: path.to_owned(), source }),
    };
    let table: toml::Table = toml::from_str(&text)
        .map_err(|source| SourceError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    Ok(Some(Layer { origin: path.display().to_string(), values: table.into_iter().map(into_entry).collect() }))
}

/// The values that one source sets, and its name in messages.
struct Layer {
    origin: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

fn into_entry((key, value): (String, toml::Value)) -> (String, Value) {
    (key, into_figment(value))
}

fn into_figment(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        // No key takes a date. As text, it fails with a message that shows it.
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(into_figment).collect::<Vec<_>>().into(),
        toml::Value::Table(table) => table.into_iter().map(into_entry).collect::<Dict>().into(),
    }
}

/// The default of every key. They tell how to read an assignment, and which keys there are.
struct Defaults(HashMap<String, toml::Value>);

impl Defaults {
    fn new() -> Self {
        let mut defaults = HashMap::new();
        // Settings are made of tables, text, numbers and flags only, so this succeeds. If it failed, the form of a
        // value alone would decide its type.
        if let Ok(table) = toml::Table::try_from(Settings::default()) {
            flatten("", table, &mut defaults);
        }
        Self(defaults)
    }

    /// The key that `text` becomes if a dot replaces one of its underscores.
    fn with_underscore_for_dot(&self, text: &str) -> Option<&str> {
        let alike = |key: &&String| {
            key.len() == text.len() && key.contains('.') && !text.contains('.') && key.replace('.', "_") == text
        };
        self.0.keys().find(alike).map(String::as_str)
    }

    fn layer(&self, assignment: &Assignment) -> Layer {
        let value = into_figment(self.parse(&assignment.key, &assignment.value));
        let mut parts: Vec<&str> = assignment.key.split('.').collect();
        let first = parts.remove(0).to_owned();
        let nested = parts.into_iter().rev().fold(value, |value, part| Dict::from([(part.to_owned(), value)]).into());
        Layer { origin: assignment.origin.clone(), values: Dict::from([(first, nested)]) }
    }

    /// A key whose default is text takes any text as it is: a bucket called `123` is not a number.
    fn parse(&self, key: &str, text: &str) -> toml::Value {
        let raw = || toml::Value::String(text.to_owned());
        match (self.0.get(key), text.parse::<toml::Value>()) {
            (Some(toml::Value::String(_)), Ok(quoted @ toml::Value::String(_))) => quoted,
            (Some(toml::Value::String(_)), _) | (_, Err(_)) => raw(),
            (_, Ok(value)) => value,
        }
    }

    /// The advice for an unknown key. `field` is its last part, and `siblings` would have been valid there.
    fn advice(&self, section: &str, field: &str, siblings: &[&str]) -> String {
        // The same name in another section is a better guess than a similar name.
        let mut elsewhere: Vec<&String> = self.0.keys().filter(|key| key.rsplit('.').next() == Some(field)).collect();
        elsewhere.sort();
        if let Some(key) = elsewhere.first() {
            return format!("did you mean `{key}`?");
        }
        let nearest = siblings
            .iter()
            .map(|sibling| (strsim::jaro_winkler(field, sibling), sibling))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN);
        match nearest {
            Some((_, sibling)) => format!("did you mean `{}`?", join(section, sibling)),
            None => format!("valid here: {}", siblings.join(", ")),
        }
    }
}

fn flatten(section: &str, table: toml::Table, into: &mut HashMap<String, toml::Value>) {
    for (key, value) in table {
        let key = join(section, &key);
        match value {
            toml::Value::Table(table) => flatten(&key, table, into),
            value => {
                into.insert(key, value);
            }
        }
    }
}

fn join(section: &str, field: &str) -> String {
    if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") }
}

fn explain(error: &figment::Error, figment: &Figment, defaults: &Defaults) -> SourceError {
    let path = error.path.join(".");
    let origin_of = |key: &str| {
        let metadata = figment.find_metadata(key).or(error.metadata.as_ref());
        metadata.map_or_else(|| "the configuration".to_owned(), |metadata| metadata.name.to_string())
    };
    if let Kind::UnknownField(field, siblings) = &error.kind {
        // The path may or may not already end in the key itself.
        let section = path.strip_suffix(field.as_str()).map_or(path.as_str(), |path| path.trim_end_matches('.'));
        let key = join(section, field);
        let advice = defaults.advice(section, field, siblings);
        return SourceError::UnknownKey { origin: origin_of(&key), key, advice };
    }
    let problem = redact::urls(&Problem(&error.kind).to_string()).into_owned();
    SourceError::WrongValue { origin: origin_of(&path), problem, key: path }
}

/// Says what is wrong with a value in the operator's words, and not in Rust's.
struct Problem<'a>(&'a Kind);

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
                write!(f, "expected {}, found {actual}", in_words(expected))
            }
            Kind::ISizeOutOfRange(number) => write!(f, "{number} is out of range"),
            Kind::USizeOutOfRange(number) => write!(f, "{number} is out of range"),
            Kind::UnknownVariant(found, valid) => write!(f, "expected one of {}, found `{found}`", valid.join(", ")),
            other => write!(f, "{other}"),
        }
    }
}

fn in_words(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, not negative",
        "isize" | "i64" | "i32" | "i16" | "i8" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a duration" => "a duration such as \"30s\" or \"5m\"",
        other if other.starts_with("struct ") => "a section with keys",
        other => other,
    }
}
