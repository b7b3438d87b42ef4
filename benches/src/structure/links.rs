//! Links of the README and of the book: each leads to a file of the project, and to a heading in it.
//!
//! This file does *not* follow links to other sites.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::root;

/// The folders of pages, in addition to the project's own folder.
const FOLDERS: [&str; 4] = ["docs/src", "athena", "benches", "localaws"];

/// Links that lead nowhere, each with its page.
pub fn broken() -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(&page).with_context(|| format!("failed to read {}", page.display()))?;
        let name = page.strip_prefix(root()).unwrap_or(&page).display().to_string();
        let lead = links(&text).into_iter().filter(|link| !leads(&page, link));
        broken.extend(lead.map(|link| format!("{name}: {link}")));
    }
    Ok(broken)
}

fn pages() -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for folder in FOLDERS.iter().map(|folder| root().join(folder)).chain([root().to_owned()]) {
        let context = || format!("failed to read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// The targets of the links of a page, except those to other sites.
fn links(text: &str) -> Vec<String> {
    let targets = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    });
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

fn leads(page: &Path, link: &str) -> bool {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap_or(page).join(file) };
    let Some(heading) = heading else { return target.exists() };
    fs::read_to_string(&target).is_ok_and(|text| headings(&text).contains(heading))
}

/// The ids of a page's headings: in lower case, with a dash for each space, and without punctuation. GitHub and mdBook
/// agree on that.
fn headings(text: &str) -> BTreeSet<String> {
    let (mut ids, mut open) = (BTreeSet::new(), None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => open = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => ids.extend(open.take().map(|heading| id(&heading))),
            Event::Text(text) | Event::Code(text) => {
                if let Some(open) = &mut open {
                    open.push_str(&text);
                }
            }
            _ => {}
        }
    }
    ids
}

fn id(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_leads_to_a_file_and_to_a_heading_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("a.md");
        fs::write(&page, "# What *it* costs: `a`, b\n\n```\n# no heading\n```\n").unwrap();
        let leads = |link| leads(&page, link);
        assert!(leads("a.md") && leads("#what-it-costs-a-b") && leads("a.md#what-it-costs-a-b"));
        assert!(!leads("b.md") && !leads("#no-heading") && !leads("b.md#what-it-costs-a-b"));
        let text = "[a](a.md) [b](https://b) ![c](c.svg)\n\n| d |\n|---|\n| [d](d.md#d) |\n\n`[e](e.md)`";
        assert_eq!(links(text), ["a.md", "c.svg", "d.md#d"]);
    }
}
