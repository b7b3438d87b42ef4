//! The structure of the sources: `check structure`, and the test that checks the same rules.
//!
//! This file owns the rules of files and functions. Imports are in [`imports`], links of the
//! documentation in [`links`], the cost of a build in [`build`].

pub mod build;
pub mod imports;
pub mod links;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use syn::visit::{Visit, visit_block};

use crate::figure::Figure;

/// The folders that hold sources.
const FOLDERS: [&str; 6] = ["athena", "benches", "engine", "loadgen", "localaws", "schemas"];

/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 400;

/// Lines of a function, without blank ones and comments, as clippy's `too_many_lines` counts them.
const FUNCTION_LINES_MAX: usize = 70;

/// Characters of a line with a comment.
const COLUMNS_MAX: usize = 120;

const README_WORDS_MAX: f64 = 1_500.0;
const README_LINES_MAX: f64 = 150.0;

/// A Rust file of the project.
#[derive(Debug)]
pub struct Source {
    /// Its path below the project's folder.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The folder of the project.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Every Rust file of the project, in the order of the paths.
pub fn sources() -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let context = || format!("failed to read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
                let path = path.strip_prefix(root()).unwrap_or(&path).to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

/// The places that break a rule, by rule.
#[derive(Debug, Default)]
pub struct Findings {
    /// Files that are too long before their tests.
    pub long_files: Vec<String>,
    /// Functions that are too long.
    pub long_functions: Vec<String>,
    /// Lines with comments that are too wide.
    pub wide_comments: Vec<String>,
    /// Files that do not begin with a text about what they own.
    pub headless: Vec<String>,
    /// Sibling modules that import each other in a circle.
    pub circles: Vec<String>,
    /// Stages of the engine that import another stage.
    pub stages: Vec<String>,
    /// Links of the documentation that lead nowhere.
    pub links: Vec<String>,
}

impl Findings {
    /// Checks the whole project.
    pub fn of_project() -> anyhow::Result<Self> {
        let sources = sources()?;
        let mut findings = Self::default();
        for source in &sources {
            findings.look(source)?;
        }
        let imports = imports::of(&sources)?;
        findings.circles = imports.circles();
        findings.stages = imports.stages();
        findings.links = links::broken()?;
        Ok(findings)
    }

    /// Checks one file, and adds what it finds.
    pub fn look(&mut self, source: &Source) -> anyhow::Result<()> {
        let Source { path, text } = source;
        let name = path.display();
        let lines: Vec<&str> = text.lines().collect();
        let before_tests = lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && is_module(two[1]));
        let length = before_tests.unwrap_or(lines.len());
        if length > FILE_LINES_MAX {
            self.long_files.push(format!("{name}: {length} lines"));
        }
        if !lines.first().is_some_and(|line| line.starts_with("//!")) {
            self.headless.push(name.to_string());
        }
        for (number, line) in (1..).zip(&lines) {
            if line.contains("//") && line.trim_start().starts_with("//") && line.chars().count() > COLUMNS_MAX {
                self.wide_comments.push(format!("{name}:{number}"));
            }
        }
        let file = syn::parse_file(text).with_context(|| format!("failed to parse {name}"))?;
        let mut functions = Functions { lines: &lines, too_long: Vec::new() };
        functions.visit_file(&file);
        self.long_functions.extend(
            functions.too_long.into_iter().map(|(function, count)| format!("{name}: {function} has {count} lines")),
        );
        Ok(())
    }

    /// The findings of each rule.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        [
            ("circles of modules that import each other", &self.circles),
            ("functions over 70 lines", &self.long_functions),
            ("files over 400 lines before their tests", &self.long_files),
            ("comment lines over 120 columns", &self.wide_comments),
            ("files that do not say what they own", &self.headless),
            ("stages that import another stage", &self.stages),
            ("links of the documentation that lead nowhere", &self.links),
        ]
        .into_iter()
    }
}

fn is_module(line: &str) -> bool {
    let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
    line.starts_with("mod ") && line.ends_with('{')
}

/// Functions of a file that are too long.
struct Functions<'a> {
    lines: &'a [&'a str],
    too_long: Vec<(String, usize)>,
}

impl Functions<'_> {
    fn count(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (open, close) = (block.brace_token.span.open().start().line, block.brace_token.span.close().end().line);
        let body = self.lines.get(open..close.saturating_sub(1)).unwrap_or_default();
        let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let count = body.iter().filter(is_code).count();
        if count > FUNCTION_LINES_MAX {
            self.too_long.push((name.to_string(), count));
        }
        visit_block(self, block);
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.count(&function.sig.ident, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.count(&function.sig.ident, &function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.count(&function.sig.ident, block);
        }
    }
}

/// Prints the places that break a rule, and the length of the README.
pub fn figures(
    is_built: bool,
    report: &mut impl FnMut(Figure) -> std::io::Result<()>,
    print: &mut impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let findings = Findings::of_project()?;
    for (rule, found) in findings.all() {
        for one in found {
            print(one)?;
        }
        report(Figure { name: rule.into(), measured: found.len() as f64, at_most: 0.0 })?;
    }
    let readme = fs::read_to_string(root().join("README.md")).context("failed to read the README")?;
    let words = readme.split_whitespace().count() as f64;
    report(Figure { name: "words of the README".into(), measured: words, at_most: README_WORDS_MAX })?;
    let lines = readme.lines().count() as f64;
    report(Figure { name: "lines of the README".into(), measured: lines, at_most: README_LINES_MAX })?;
    if is_built {
        build::figures(report)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: String) -> Findings {
        let mut findings = Findings::default();
        findings.look(&Source { path: path.into(), text }).unwrap();
        findings
    }

    #[test]
    fn each_rule_of_a_file_finds_what_breaks_it() {
        let body = "    let _ = 1;\n".repeat(71);
        assert_eq!(found("a.rs", format!("//! A.\nfn f() {{\n{body}}}\n")).long_functions.len(), 1);
        let body = "    let _ = 1;\n\n    // Why.\n".repeat(70);
        let fine = found("a.rs", format!("//! A.\nfn f() {{\n{body}}}\n"));
        assert!(fine.all().all(|(_, found)| found.is_empty()), "{fine:?}");

        let long = format!("//! A.\n{}", "const _: u8 = 0;\n".repeat(400));
        assert_eq!(found("a.rs", long.clone()).long_files.len(), 1);
        let tests = long.replacen("const _: u8 = 0;\n", "#[cfg(test)]\nmod tests {\n", 1) + "}\n";
        assert!(found("a.rs", tests).long_files.is_empty(), "tests do not count");

        assert_eq!(found("a.rs", "fn f() {}\n".to_owned()).headless, ["a.rs"]);
        let wide = format!("//! A.\n// {}\n", "x".repeat(118));
        assert_eq!(found("a.rs", wide).wide_comments, ["a.rs:2"]);
    }
}
