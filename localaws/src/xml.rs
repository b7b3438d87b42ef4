//! The XML of the query protocol and of S3: written piece by piece, and read into a small tree.
//!
//! This file does *not* know any document's meaning.

use std::fmt::Write;

use quick_xml::{Reader, escape::escape, events::Event};

/// The deepest nesting of a request. S3's own requests nest three levels deep.
const DEPTH_MAX: usize = 8;

/// Appends `<name>text</name>`, escaped.
pub(crate) fn element(xml: &mut String, name: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = write!(xml, "<{name}>{}</{name}>", escape(text));
}

/// An element of a parsed document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// Reads a document. `None` if it is not well-formed.
    pub(crate) fn parse(xml: &str) -> Option<Node> {
        let mut reader = Reader::from_str(xml);
        reader.config_mut().expand_empty_elements = true;
        let mut open = vec![Node::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) if open.len() <= DEPTH_MAX => {
                    open.push(Node { name: start.local_name().into_inner().to_owned(), ..Node::default() });
                }
                Event::Start(_) => return None,
                Event::End(_) => {
                    let done = open.pop()?;
                    open.last_mut()?.children.push(done);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.into_inner()),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.into_inner()),
                Event::GeneralRef(entity) => {
                    let entity = format!("&{};", entity.into_inner());
                    open.last_mut()?.text.push_str(&quick_xml::escape::unescape(&entity).ok()?);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        // Only the root's parent may still be open.
        let root = open.pop().filter(|_| open.is_empty())?;
        root.children.into_iter().next()
    }

    /// The children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "a&b<c>'\"d ünï ✓";
        let mut xml = String::from("<?xml version=\"1.0\"?><Delete xmlns=\"x\"><Object>");
        element(&mut xml, "Key", text);
        xml.push_str("</Object><Quiet/></Delete>");
        let root = Node::parse(&xml).unwrap();
        assert_eq!(root.all("Object").next().unwrap().text("Key"), Some(text));
        assert_eq!(root.text("Quiet"), Some(""));
        assert_eq!(root.text("Other"), None);
    }

    #[test]
    fn broken_documents_are_no_documents() {
        for xml in ["", "text", "<a>", "<a></b>", "</a>", "<a>&nope;</a>", &"<a>".repeat(100)] {
            assert_eq!(Node::parse(xml), None, "{xml}");
        }
    }
}
