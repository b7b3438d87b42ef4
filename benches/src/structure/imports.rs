//! Which modules import which, by the paths in the sources.
//!
//! Parents and children may know each other. Sibling modules must not import each other in a circle. A stage of the
//! engine ([`STAGES`]) imports no other stage. Code that is compiled only for tests does not count. This file does
//! *not* own the rules inside a file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use syn::visit::{Visit, visit_item_mod, visit_path};

use super::Source;

/// The stages of the engine. Only the modules that join them may import them.
pub const STAGES: [&str; 10] = [
    "receiver",
    "heartbeat",
    "decoders",
    "detectors",
    "builder",
    "encoders",
    "committer",
    "resolver",
    "publisher",
    "drain",
];

/// The crate of the engine, by the folder of its sources.
const ENGINE: &str = "engine/src";

/// The name of a module within its crate: empty for the crate itself.
type Name = Vec<String>;

/// The imports of all crates.
#[derive(Debug, Default)]
pub struct Imports {
    /// Pairs of importing and imported module, by the folder of a crate's sources.
    crates: BTreeMap<String, BTreeSet<(Name, Name)>>,
}

/// The imports in `sources`.
pub fn of(sources: &[Source]) -> anyhow::Result<Imports> {
    let mut imports = Imports::default();
    let mut modules: BTreeMap<String, Vec<(Name, syn::File)>> = BTreeMap::new();
    for Source { path, text } in sources {
        let path = path.with_extension("").to_string_lossy().replace('\\', "/");
        let Some((folder, module)) = path.rsplit_once("/src/") else { continue };
        if module == "main" {
            continue;
        }
        let name = if module == "lib" { Vec::new() } else { module.split('/').map(str::to_owned).collect() };
        let file = syn::parse_file(text).with_context(|| format!("failed to parse {path}.rs"))?;
        modules.entry(format!("{folder}/src")).or_default().push((name, file));
    }
    for (folder, modules) in modules {
        let tests: Vec<Name> = modules.iter().flat_map(|(name, file)| test_modules(name, file)).collect();
        let is_test = |name: &Name| tests.iter().any(|test| name.starts_with(test));
        let known: BTreeSet<Name> =
            modules.iter().map(|(name, _)| name.clone()).filter(|name| !is_test(name)).collect();
        let mut edges = BTreeSet::new();
        for (name, file) in modules.iter().filter(|(name, _)| !is_test(name)) {
            let mut paths = Paths { module: name.clone(), known: &known, imported: BTreeSet::new() };
            paths.visit_file(file);
            edges.extend(paths.imported.into_iter().map(|to| (name.clone(), to)));
        }
        imports.crates.insert(folder, edges);
    }
    Ok(imports)
}

impl Imports {
    /// Groups of sibling modules. Each module imports all others of its group, directly or through other modules.
    #[must_use]
    pub fn circles(&self) -> Vec<String> {
        let mut circles = Vec::new();
        for (folder, edges) in &self.crates {
            let parents: BTreeSet<&[String]> =
                edges.iter().flat_map(|(from, _)| (0..from.len()).map(|depth| &from[..depth])).collect();
            for parent in parents {
                let below = |name: &Name| name.strip_prefix(parent).and_then(|rest| rest.first().cloned());
                let siblings: BTreeSet<(String, String)> = edges
                    .iter()
                    .filter_map(|(from, to)| Some((below(from)?, below(to)?)))
                    .filter(|(from, to)| from != to)
                    .collect();
                circles.extend(groups(&siblings).into_iter().map(|group| {
                    let place = [folder.as_str()].into_iter().chain(parent.iter().map(String::as_str));
                    format!("{}: {}", place.collect::<Vec<_>>().join("/"), group.join(", "))
                }));
            }
        }
        circles
    }

    /// Stages that import another one.
    #[must_use]
    pub fn stages(&self) -> Vec<String> {
        let stage = |name: &Name| name.first().filter(|first| STAGES.contains(&first.as_str())).cloned();
        let edges = self.crates.get(ENGINE).into_iter().flatten();
        let pairs = edges.filter_map(|(from, to)| Some((stage(from)?, stage(to)?)));
        let found: BTreeSet<(String, String)> = pairs.filter(|(from, to)| from != to).collect();
        found.into_iter().map(|(from, to)| format!("{from} imports {to}")).collect()
    }
}

/// The groups of more than one name that reach each other.
fn groups(edges: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let reach = |from: &str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(at) = open.pop() {
            for (_, to) in edges.iter().filter(|(of, _)| *of == at) {
                if reached.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        reached
    };
    let names: BTreeSet<&String> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<String>> = names.iter().map(|name| (*name, reach(name))).collect();
    let mut groups = BTreeSet::new();
    for (name, of_name) in &reached {
        let group: Vec<String> =
            of_name.iter().filter(|other| reached.get(*other).is_some_and(|of| of.contains(*name))).cloned().collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

/// The modules that `file` declares only for tests, and that have their own files.
fn test_modules(name: &Name, file: &syn::File) -> Vec<Name> {
    let declared = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && is_for_tests(&module.attrs) => Some(&module.ident),
        _ => None,
    });
    declared.map(|ident| name.iter().cloned().chain([ident.to_string()]).collect()).collect()
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|of| of == "test")
    };
    attributes.iter().any(is_test)
}

/// The paths of one file that begin at its crate.
struct Paths<'a> {
    module: Name,
    known: &'a BTreeSet<Name>,
    imported: BTreeSet<Name>,
}

impl Paths<'_> {
    /// Notes the module that a path leads into: the longest part of the path that is a module.
    fn note(&mut self, segments: &[String]) {
        let Some((first, rest)) = segments.split_first() else { return };
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default(),
            _ => return,
        };
        for segment in rest {
            if segment == "super" {
                at.pop();
                continue;
            }
            at.push(segment.clone());
            if !self.known.contains(&at) {
                at.pop();
                break;
            }
        }
        if at != self.module {
            self.imported.insert(at);
        }
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| before.iter().cloned().chain([ident.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Imports {
        let source = |(path, text): &(&str, &str)| Source { path: path.into(), text: (*text).to_owned() };
        of(&files.iter().map(source).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn circles_are_found_among_modules_beside_each_other() {
        let found = imports(&[
            ("a/src/lib.rs", "mod one; mod two; mod three;"),
            ("a/src/one.rs", "mod child; use crate::two::Two;"),
            ("a/src/one/child.rs", "use super::One;"),
            ("a/src/two.rs", "fn f() { super::three::g() }"),
            ("a/src/three.rs", "use crate::{one::child::Child};"),
            ("b/src/lib.rs", "mod one;"),
            ("b/src/one.rs", "mod two; mod three;"),
            ("b/src/one/two.rs", "use super::three::Three;"),
            ("b/src/one/three.rs", "use super::two;"),
        ]);
        assert_eq!(found.circles(), ["a/src: one, three, two", "b/src/one: three, two"]);
    }

    #[test]
    fn what_is_for_tests_makes_no_circle() {
        let found = imports(&[
            ("a/src/one.rs", "use crate::two::Two; #[cfg(test)] mod tests;"),
            ("a/src/one/tests.rs", "use crate::two;"),
            ("a/src/two.rs", "#[cfg(test)] mod tests { use crate::one::One; }"),
        ]);
        assert_eq!(found.circles(), [""; 0]);
    }

    #[test]
    fn stage_that_imports_another_one_is_found() {
        let found = imports(&[
            ("engine/src/builder.rs", "use crate::committer::files::F;"),
            ("engine/src/committer.rs", "mod files;"),
            ("engine/src/committer/files.rs", "use super::C; use crate::message::M;"),
            ("engine/src/message.rs", ""),
            ("engine/src/pipeline.rs", "use crate::{builder::B, committer::C};"),
        ]);
        assert_eq!(found.stages(), ["builder imports committer"]);
    }
}
