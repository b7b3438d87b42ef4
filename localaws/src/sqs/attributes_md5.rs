//! Message attributes, and the MD5 that SQS returns for them. This file does *not* own the message around them.
//!
//! The algorithm is in the SQS developer guide, "Calculating the MD5 message digest for message attributes". It digests
//! the attributes sorted by name. Each attribute is the length-prefixed name, the length-prefixed data type, a byte for
//! the transport type (1 for string and number, 2 for binary), and the length-prefixed value.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use fast_md5::Md5;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::error::SqsError;
use crate::hex::hex;

/// An MD5, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Md5Hex(pub(crate) [u8; 16]);

impl Md5Hex {
    /// The digest of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(fast_md5::digest(bytes))
    }
}

impl Serialize for Md5Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

/// The value of an attribute: text, or bytes when its data type is `Binary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

/// One attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: Box<str>,
    /// `String`, `Number` or `Binary`, with an optional `.custom` suffix.
    pub(crate) data_type: Box<str>,
    pub(crate) value: Value,
}

/// The attributes of a message, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Attributes(Box<[Attribute]>);

/// One attribute in the form of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttributeInput {
    pub(crate) data_type: String,
    pub(crate) string_value: Option<String>,
    pub(crate) binary_value: Option<String>,
}

impl Attributes {
    /// Checks the attributes of a request.
    pub(crate) fn parse(input: BTreeMap<String, AttributeInput>) -> Result<Self, SqsError> {
        if input.len() > 10 {
            let message = format!("Number of message attributes [{}] exceeds the allowed maximum [10].", input.len());
            return Err(SqsError::invalid_parameter(message));
        }
        input.into_iter().map(|(name, value)| Attribute::parse(name, value)).collect::<Result<_, _>>().map(Self)
    }

    /// Makes attributes from a list in any order.
    pub(crate) fn from_unsorted(mut attributes: Vec<Attribute>) -> Self {
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        Self(attributes.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// The size of the attributes that counts as part of their message.
    pub(crate) fn bytes(&self) -> usize {
        self.iter()
            .map(|attribute| attribute.name.len() + attribute.data_type.len() + attribute.value.bytes().len())
            .sum()
    }

    /// The digest. `None` if there are no attributes.
    pub(crate) fn md5(&self) -> Option<Md5Hex> {
        if self.0.is_empty() {
            return None;
        }
        let mut hasher = Md5::new();
        let mut field = |bytes: &[u8], transport: Option<u8>| {
            if let Some(byte) = transport {
                hasher.update(&[byte]);
            }
            hasher.update(&(bytes.len() as u32).to_be_bytes());
            hasher.update(bytes);
        };
        for attribute in self.iter() {
            field(attribute.name.as_bytes(), None);
            field(attribute.data_type.as_bytes(), None);
            field(attribute.value.bytes(), Some(attribute.value.transport()));
        }
        Some(Md5Hex(hasher.finalize()))
    }
}

impl Value {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    fn transport(&self) -> u8 {
        match self {
            Self::Text(_) => 1,
            Self::Binary(_) => 2,
        }
    }
}

impl Attribute {
    /// Checks one attribute of a request.
    pub(crate) fn parse(name: String, input: AttributeInput) -> Result<Self, SqsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let dotted = name.starts_with('.') || name.ends_with('.') || name.contains("..");
        let lower = name.to_ascii_lowercase();
        let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
        if name.is_empty() || name.len() > 256 || dotted || reserved || !name.chars().all(plain) {
            return Err(SqsError::invalid_parameter(format!("The message attribute name '{name}' is invalid.")));
        }
        let value = match input.data_type.split('.').next() {
            Some("String") => input.string_value.map(|text| Value::Text(text.into())),
            Some("Number") => {
                input.string_value.filter(|text| text.parse::<f64>().is_ok()).map(|text| Value::Text(text.into()))
            }
            Some("Binary") => {
                input.binary_value.and_then(|text| BASE64.decode(text).ok()).map(|bytes| Value::Binary(bytes.into()))
            }
            _ => {
                let message = format!(
                    "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                     prefixes is Binary, Number, and String."
                );
                return Err(SqsError::invalid_parameter(message));
            }
        };
        let Some(value) = value.filter(|value| !value.bytes().is_empty()) else {
            let message = format!(
                "The message attribute '{name}' must contain a non-empty value of its type '{}'.",
                input.data_type
            );
            return Err(SqsError::invalid_parameter(message));
        };
        Ok(Self { name: name.into(), data_type: input.data_type.into(), value })
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("MessageAttributeValue", 2)?;
        match &self.value {
            Value::Text(text) => object.serialize_field("StringValue", text)?,
            Value::Binary(bytes) => object.serialize_field("BinaryValue", &BASE64.encode(bytes))?,
        }
        object.serialize_field("DataType", &self.data_type)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, data_type: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), data_type: data_type.into(), value: Value::Text(value.into()) }
    }

    fn digest(attributes: Vec<Attribute>) -> String {
        serde_json::to_value(Attributes::from_unsorted(attributes).md5()).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn digest_follows_the_developer_guide() {
        let mut manual = Md5::new();
        manual.update(b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x01x");
        let expected = crate::hex::hex(&manual.finalize());
        assert_eq!(digest(vec![text("a", "String", "x")]), expected);
    }

    /// The value that AWS SDKs expect for this attribute.
    #[test]
    fn digest_agrees_with_the_service() {
        let attribute = text("timestamp", "Number", "1493147359900");
        assert_eq!(digest(vec![attribute]), "235c5c510d26fb653d073faed50ae77c");
    }

    #[test]
    fn digest_does_not_depend_on_the_order_of_attributes() {
        let (a, b) = (text("a", "String", "x"), text("b", "Number", "1"));
        assert_eq!(digest(vec![a.clone(), b.clone()]), digest(vec![b, a]));
    }

    #[test]
    fn binary_values_are_digested_as_bytes() {
        let binary = Attribute { name: "a".into(), data_type: "Binary".into(), value: Value::Binary((*b"x").into()) };
        assert_ne!(digest(vec![binary]), digest(vec![text("a", "Binary", "x")]));
    }

    #[test]
    fn odd_attributes_are_rejected() {
        for (name, data_type, value) in [
            ("", "String", "x"),
            ("a..b", "String", "x"),
            ("AWS.x", "String", "x"),
            ("a", "Date", "x"),
            ("a", "String", ""),
        ] {
            let input =
                AttributeInput { data_type: data_type.into(), string_value: Some(value.into()), binary_value: None };
            assert!(Attributes::parse([(name.to_owned(), input)].into()).is_err(), "{name} {data_type} {value}");
        }
    }
}
