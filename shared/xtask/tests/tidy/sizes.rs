//! Bounds on the length of files and functions.

use std::fs;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{assert_left, files, root, shown};

/// A file of product code is at most this long, its tests left out.
const FILE_LINES_MAX: usize = 600;
/// A function is at most this long.
const FUNCTION_LINES_MAX: usize = 80;

/// Functions that may be longer, each with the reason.
const LONG_FUNCTIONS: &[(&str, &str)] =
    &[("cloud/src/store/commit/apply.rs apply", "one arm for each kind of message")];

#[test]
fn no_file_of_product_code_is_too_long() {
    let mut long = Vec::new();
    for file in files(&root(), &["rs"]) {
        let name = shown(&file);
        if name.contains("/tests") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let product = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if product > FILE_LINES_MAX {
            long.push(format!("{name}: {product} lines"));
        }
    }
    assert_left(&long, 0, "split the file by its ideas");
}

struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line - signature.span().start().line + 1;
        self.found.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for file in files(&root(), &["rs"]) {
        let name = shown(&file);
        if name.contains("/tests") || name.contains("/e2e/") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut functions = Functions { found: Vec::new() };
        functions.visit_file(&parsed);
        for (function, lines) in functions.found {
            let place = format!("{name} {function}");
            let is_excused = LONG_FUNCTIONS.iter().any(|(excused, _)| *excused == place);
            if lines > FUNCTION_LINES_MAX && !is_excused {
                long.push(format!("{place}: {lines} lines"));
            }
        }
    }
    assert_left(&long, 0, "give the steps names, or give a reason in LONG_FUNCTIONS");
}
