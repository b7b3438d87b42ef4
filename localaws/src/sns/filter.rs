//! Filter policies: which messages a subscription lets through.
//!
//! The language is in the SNS developer guide, "Filter policy constraints" and the pages around it. A policy maps names
//! to lists of conditions. All names must match, each by any condition of its list. With the scope `MessageBody`, the
//! policy may be nested like the body. A list in the body matches if any of its elements does. This file does *not* own
//! what a message is.

use serde_json::{Map, Value};

/// The most conditions of a policy, multiplied over the names.
const COMBINATIONS_MAX: usize = 150;

/// A checked policy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilterPolicy(Vec<(String, Rule)>);

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    AnyOf(Vec<Condition>),
    Nested(FilterPolicy),
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Exactly(Value),
    Prefix(String),
    Suffix(String),
    EqualsIgnoreCase(String),
    AnythingBut(Vec<Condition>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl FilterPolicy {
    /// Reads a policy. `nested` is true if the scope is the message body.
    pub(crate) fn parse(text: &str, nested: bool) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("failed to parse JSON. {error}"))?;
        let Value::Object(object) = value else { return Err("the policy is not a JSON object".to_owned()) };
        let policy = Self::from_object(&object, nested)?;
        if policy.combinations() > COMBINATIONS_MAX {
            return Err("the policy is too complex".to_owned());
        }
        Ok(policy)
    }

    fn from_object(object: &Map<String, Value>, nested: bool) -> Result<Self, String> {
        let rule = |(name, value): (&String, &Value)| match value {
            Value::Array(conditions) if conditions.is_empty() => Err(format!("the list of \"{name}\" is empty")),
            Value::Array(conditions) => {
                let conditions = conditions.iter().map(Condition::parse).collect::<Result<_, _>>()?;
                Ok((name.clone(), Rule::AnyOf(conditions)))
            }
            Value::Object(inner) if nested => Ok((name.clone(), Rule::Nested(Self::from_object(inner, true)?))),
            _ => Err(format!("\"{name}\" must be an object or an array")),
        };
        object.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    fn combinations(&self) -> usize {
        self.0.iter().fold(1, |product: usize, (_, rule)| {
            product.saturating_mul(match rule {
                Rule::AnyOf(conditions) => conditions.len(),
                Rule::Nested(policy) => policy.combinations(),
            })
        })
    }

    /// Whether an object with these fields passes. The fields are the message attributes, or the message body.
    pub(crate) fn matches(&self, fields: &Map<String, Value>) -> bool {
        self.0.iter().all(|(name, rule)| match rule {
            Rule::AnyOf(conditions) => conditions.iter().any(|condition| condition.matches(fields.get(name))),
            Rule::Nested(policy) => policy.matches_nested(fields.get(name)),
        })
    }

    fn matches_nested(&self, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Object(object)) => self.matches(object),
            Some(Value::Array(elements)) => elements.iter().any(|element| self.matches_nested(Some(element))),
            _ => self.matches(&Map::new()),
        }
    }
}

impl Condition {
    fn parse(value: &Value) -> Result<Self, String> {
        let Value::Object(object) = value else {
            return match value {
                Value::Array(_) => Err("match value must be String, number, true, false, or null".to_owned()),
                plain => Ok(Self::Exactly(plain.clone())),
            };
        };
        let mut entries = object.iter();
        let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
            return Err("a condition has exactly one operator".to_owned());
        };
        let text =
            || operand.as_str().map(str::to_owned).ok_or_else(|| format!("{operator} match pattern must be a string"));
        match operator.as_str() {
            "prefix" => text().map(Self::Prefix),
            "suffix" => text().map(Self::Suffix),
            "equals-ignore-case" => text().map(Self::EqualsIgnoreCase),
            "exists" => operand
                .as_bool()
                .map(Self::Exists)
                .ok_or_else(|| "exists match pattern must be either true or false.".to_owned()),
            "numeric" => numeric(operand).map(Self::Numeric),
            "anything-but" => match operand {
                Value::Array(values) => values.iter().map(Self::parse).collect::<Result<_, _>>().map(Self::AnythingBut),
                value => Self::parse(value).map(|condition| Self::AnythingBut(vec![condition])),
            },
            _ => Err(format!("unrecognized match type {operator}")),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            // A null in a body counts as present. An absent attribute does not.
            (Self::Exists(expected), value) => *expected == value.is_some(),
            (_, None) => false,
            // A list passes "anything but" if at least one element is something else.
            (_, Some(Value::Array(elements))) => elements.iter().any(|element| self.matches(Some(element))),
            (Self::AnythingBut(excluded), Some(value)) => {
                !excluded.iter().any(|condition| condition.matches(Some(value)))
            }
            (Self::Exactly(expected), Some(value)) => equal(expected, value),
            (Self::Numeric(bounds), Some(value)) => value
                .as_f64()
                .is_some_and(|number| bounds.iter().all(|(comparison, bound)| comparison.holds(number, *bound))),
            (Self::Prefix(prefix), Some(value)) => value.as_str().is_some_and(|text| text.starts_with(prefix.as_str())),
            (Self::Suffix(suffix), Some(value)) => value.as_str().is_some_and(|text| text.ends_with(suffix.as_str())),
            (Self::EqualsIgnoreCase(expected), Some(value)) => {
                value.as_str().is_some_and(|text| text.to_lowercase() == expected.to_lowercase())
            }
        }
    }
}

/// Compares values. 3 and 3.0 are the same number.
fn equal(expected: &Value, value: &Value) -> bool {
    match (expected.as_f64(), value.as_f64()) {
        (Some(expected), Some(value)) => expected == value,
        _ => expected == value,
    }
}

/// Reads a condition like `[">", 0, "<=", 5]`.
fn numeric(operand: &Value) -> Result<Vec<(Comparison, f64)>, String> {
    let parts = operand.as_array().filter(|parts| !parts.is_empty() && parts.len().is_multiple_of(2));
    let parts = parts.ok_or_else(|| "numeric match needs pairs of operator and number".to_owned())?;
    let pair = |pair: &[Value]| {
        let comparison = match pair[0].as_str() {
            Some("=") => Comparison::Equal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            _ => return Err(format!("unrecognized numeric range operator: {}", pair[0])),
        };
        let bound = pair[1].as_f64().ok_or_else(|| "value of numeric match must be numeric".to_owned())?;
        Ok((comparison, bound))
    };
    parts.chunks_exact(2).map(pair).collect()
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Equal => number == bound,
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::Greater => number > bound,
            Self::GreaterOrEqual => number >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passes(policy: &Value, fields: &Value) -> bool {
        FilterPolicy::parse(&policy.to_string(), true).unwrap().matches(fields.as_object().unwrap())
    }

    #[test]
    fn each_operator_lets_through_what_it_names() {
        for (condition, passing, failing) in [
            (json!("high"), json!("high"), json!("higher")),
            (json!(3), json!(3.0), json!("3")),
            (json!({"prefix": "hi"}), json!("high"), json!("thigh")),
            (json!({"suffix": "gh"}), json!("high"), json!("highs")),
            (json!({"equals-ignore-case": "HIGH"}), json!("hIgH"), json!("low")),
            (json!({"anything-but": ["low"]}), json!("high"), json!("low")),
            (json!({"anything-but": {"prefix": "lo"}}), json!("high"), json!("low")),
            (json!({"anything-but": 3}), json!(4), json!(3)),
            (json!({"numeric": [">=", 10]}), json!(10), json!(9.5)),
            (json!({"numeric": [">", 0, "<=", 5]}), json!(5), json!(0)),
            (json!({"numeric": ["=", 3]}), json!(3), json!("3")),
        ] {
            let policy = json!({ "k": [condition] });
            assert!(passes(&policy, &json!({ "k": passing })), "{policy} lets {passing} through");
            assert!(!passes(&policy, &json!({ "k": failing })), "{policy} stops {failing}");
            assert!(!passes(&policy, &json!({})), "{policy} stops what has no such field");
        }
    }

    #[test]
    fn existence_is_about_the_name_alone() {
        assert!(passes(&json!({"k": [{"exists": false}]}), &json!({"other": 1})));
        assert!(!passes(&json!({"k": [{"exists": false}]}), &json!({"k": 1})));
        assert!(passes(&json!({"k": [{"exists": true}]}), &json!({"k": 1})));
    }

    #[test]
    fn all_names_must_match_and_one_condition_each_is_enough() {
        let policy = json!({"a": ["x", "y"], "b": [1]});
        assert!(passes(&policy, &json!({"a": "y", "b": 1})));
        assert!(!passes(&policy, &json!({"a": "y", "b": 2})));
    }

    #[test]
    fn lists_match_by_any_element() {
        assert!(passes(&json!({"k": ["b"]}), &json!({"k": ["a", "b"]})));
        assert!(!passes(&json!({"k": ["c"]}), &json!({"k": ["a", "b"]})));
    }

    #[test]
    fn nested_policies_follow_the_body() {
        let policy = json!({"order": {"kind": ["buy"]}});
        assert!(passes(&policy, &json!({"order": {"kind": "buy"}})));
        assert!(passes(&policy, &json!({"order": [{"kind": "sell"}, {"kind": "buy"}]})));
        assert!(!passes(&policy, &json!({"order": {"kind": "sell"}})));
        assert!(!passes(&policy, &json!({"kind": "buy"})));
    }

    #[test]
    fn malformed_policies_are_rejected() {
        for policy in
            ["", "[]", r#"{"a":"x"}"#, r#"{"a":[]}"#, r#"{"a":[{"numeric":[">"]}]}"#, r#"{"a":[{"like":"x"}]}"#]
        {
            assert!(FilterPolicy::parse(policy, false).is_err(), "{policy}");
        }
        assert!(FilterPolicy::parse(r#"{"a":{"b":["x"]}}"#, false).is_err(), "attributes do not nest");
    }
}
