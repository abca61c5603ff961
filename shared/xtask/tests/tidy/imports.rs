//! The imports between modules, read from the sources: none runs in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::{assert_left, root, shown};

/// The crates whose modules are looked at: directory, and the name their code is imported by.
pub(crate) const CRATES: &[(&str, &str)] = &[
    ("shared", "keepsake_protocol"),
    ("shared/tls", "keepsake_tls"),
    ("appliance", "keepsake_appliance"),
    ("cloud", "keepsake_cloud"),
    ("shared/testkit", "keepsake_testkit"),
    ("shared/provision", "keepsake_provision"),
    ("shared/labs", "keepsake_labs"),
    ("shared/xtask", "xtask"),
    ("image-build", "image_build"),
];

/// A module: its path within the crate, the root of the crate being empty.
type ModulePath = Vec<String>;

/// A source file with the names that it defines and imports.
struct Module {
    file: PathBuf,
    defines: BTreeSet<String>,
    /// Name in this module → the path it was imported from, as written.
    imports: HashMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths that the code of this module uses, as written.
    uses: Vec<Vec<String>>,
}

/// The modules of one crate, by path.
pub(crate) struct Crate {
    name: &'static str,
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    pub(crate) fn read(folder: &str, name: &'static str) -> Self {
        let source = root().join(folder).join("src");
        let mut modules = BTreeMap::new();
        for entry in ["lib.rs", "main.rs"] {
            let file = source.join(entry);
            if file.is_file() {
                let path = if entry == "main.rs" && source.join("lib.rs").is_file() {
                    vec!["main".to_owned()]
                } else {
                    Vec::new()
                };
                read_file(&file, &source, &path, &mut modules);
            }
        }
        Self { name, modules }
    }

    /// The module that defines what `path` names, seen from `from`; `None` for what is foreign.
    fn resolve(&self, from: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        if depth > 8 {
            return None;
        }
        let first = path.first()?;
        let mut at: ModulePath;
        let mut rest = path;
        if first == "crate" || first == self.name {
            at = Vec::new();
            // A binary beside a library calls its own modules `crate`, too.
            if first == "crate" && from.first().is_some_and(|top| top == "main") {
                at = vec!["main".to_owned()];
            }
            rest = &rest[1..];
        } else if first == "self" {
            at = from.clone();
            rest = &rest[1..];
        } else if first == "super" {
            at = from.clone();
            while rest.first().is_some_and(|part| part == "super") {
                at.pop()?;
                rest = &rest[1..];
            }
        } else {
            at = from.clone();
            let module = self.modules.get(from)?;
            let child: ModulePath = from.iter().cloned().chain([first.clone()]).collect();
            if !self.modules.contains_key(&child) && !module.defines.contains(first) {
                let imported = module.imports.get(first)?;
                let whole: Vec<String> = imported.iter().chain(&path[1..]).cloned().collect();
                if whole == path {
                    return None;
                }
                return self.resolve(from, &whole, depth + 1);
            }
        }
        while let Some(part) = rest.first() {
            at.push(part.clone());
            if !self.modules.contains_key(&at) {
                at.pop();
                break;
            }
            rest = &rest[1..];
        }
        let module = self.modules.get(&at)?;
        let Some(name) = rest.first() else {
            return Some(at);
        };
        if module.defines.contains(name) {
            return Some(at);
        }
        // A facade: follow the name to where it is defined.
        if let Some(imported) = module.imports.get(name) {
            return self.resolve(&at, &imported.clone(), depth + 1).or(Some(at));
        }
        for glob in &module.globs {
            if let Some(found) = self.resolve(&at, glob, depth + 1)
                && self.modules[&found].defines.contains(name)
            {
                return Some(found);
            }
        }
        Some(at)
    }

    /// Returns the paths that each file uses and that no module of this crate defines, as written.
    pub(crate) fn foreign_uses(&self) -> impl Iterator<Item = (&Path, &[String])> {
        self.modules.iter().flat_map(|(path, module)| {
            let foreign = module.uses.iter().filter(|used| self.resolve(path, used, 0).is_none());
            foreign.map(|used| (module.file.as_path(), used.as_slice()))
        })
    }

    /// All arrows between files of this crate: who uses whom.
    pub(crate) fn arrows(&self) -> BTreeSet<(&Path, &Path)> {
        let mut arrows = BTreeSet::new();
        for (path, module) in &self.modules {
            for used in &module.uses {
                let Some(target) = self.resolve(path, used, 0) else {
                    continue;
                };
                let target = &self.modules[&target];
                if target.file != module.file {
                    arrows.insert((module.file.as_path(), target.file.as_path()));
                }
            }
        }
        arrows
    }
}

fn read_file(file: &Path, folder: &Path, path: &ModulePath, modules: &mut BTreeMap<ModulePath, Module>) {
    let text = fs::read_to_string(file).expect("read a source file");
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", shown(file)));
    read_items(&parsed.items, file, folder, path, modules);
}

fn read_items(
    items: &[syn::Item],
    file: &Path,
    folder: &Path,
    path: &ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let mut module = Module {
        file: file.to_owned(),
        defines: BTreeSet::new(),
        imports: HashMap::new(),
        globs: Vec::new(),
        uses: Vec::new(),
    };
    for item in items {
        let (name, attributes) = name_and_attributes(item);
        module.defines.extend(name.map(syn::Ident::to_string));
        match item {
            syn::Item::Mod(child) => {
                if is_for_tests(&child.attrs) {
                    continue;
                }
                let name = child.ident.to_string();
                let child_path: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
                if let Some((_, items)) = &child.content {
                    read_items(items, file, &folder.join(&name), &child_path, modules);
                } else {
                    let flat = folder.join(format!("{name}.rs"));
                    let nested = folder.join(&name).join("mod.rs");
                    let found = if flat.is_file() { flat } else { nested };
                    read_file(&found, &folder.join(&name), &child_path, modules);
                }
            }
            syn::Item::Use(import) if !is_for_tests(&import.attrs) => {
                let names_only = !matches!(import.vis, syn::Visibility::Inherited);
                for (name, used) in flatten(&import.tree, &[]) {
                    if name == "*" {
                        module.globs.push(used.clone());
                    } else {
                        module.imports.insert(name, used.clone());
                    }
                    // A re-export names a thing for others; it does not depend on it.
                    if !names_only {
                        module.uses.push(used);
                    }
                }
            }
            _ if is_for_tests(attributes) => {}
            _ => Paths(&mut module.uses).visit_item(item),
        }
    }
    modules.insert(path.clone(), module);
}

/// Returns the names that a `use` brings in, each with its path; the name of a glob is `*`.
fn flatten(tree: &syn::UseTree, prefix: &[String]) -> Vec<(String, Vec<String>)> {
    let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
    match tree {
        syn::UseTree::Path(path) => flatten(&path.tree, &with(&path.ident)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            vec![(prefix.last().cloned().unwrap_or_default(), prefix.to_vec())]
        }
        syn::UseTree::Name(name) => vec![(name.ident.to_string(), with(&name.ident))],
        syn::UseTree::Rename(rename) if rename.ident == "self" => vec![(rename.rename.to_string(), prefix.to_vec())],
        syn::UseTree::Rename(rename) => vec![(rename.rename.to_string(), with(&rename.ident))],
        syn::UseTree::Glob(_) => vec![("*".to_owned(), prefix.to_vec())],
        syn::UseTree::Group(group) => group.items.iter().flat_map(|tree| flatten(tree, prefix)).collect(),
    }
}

/// Collects the paths of more than one part that code uses, also inside macros.
struct Paths<'a>(&'a mut Vec<Vec<String>>);

impl Paths<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end(&mut path);
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.0.push(std::mem::take(path));
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let parts = path.segments.iter().map(|part| part.ident.to_string());
            self.0.push(parts.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test"))
    })
}

/// Returns the name that an item defines, and its attributes.
fn name_and_attributes(item: &syn::Item) -> (Option<&syn::Ident>, &[syn::Attribute]) {
    match item {
        syn::Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
        syn::Item::Struct(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Enum(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Union(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Trait(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Type(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Const(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Static(item) => (Some(&item.ident), &item.attrs),
        syn::Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
        syn::Item::Impl(item) => (None, &item.attrs),
        _ => (None, &[]),
    }
}

#[test]
fn no_import_runs_in_a_circle() {
    let mut circles = Vec::new();
    let mut arrows_seen = 0;
    for (folder, name) in CRATES {
        let sources = Crate::read(folder, name);
        let arrows = sources.arrows();
        arrows_seen += arrows.len();
        let graph: DiGraphMap<&Path, (), std::hash::RandomState> = DiGraphMap::from_edges(arrows.iter().copied());
        for circle in tarjan_scc(&graph) {
            if circle.len() > 1 {
                let inside: Vec<String> = arrows
                    .iter()
                    .filter(|(from, to)| circle.contains(from) && circle.contains(to))
                    .map(|(from, to)| format!("  {} uses {}", shown(from), shown(to)))
                    .collect();
                circles.push(format!("{} files:\n{}", circle.len(), inside.join("\n")));
            }
        }
    }
    assert!(arrows_seen > 100, "only {arrows_seen} imports were found at all");
    assert_left(&circles, 0, "move what both use below them");
}
