//! The facts about one source file that the rules need: its paths, its functions, and the macros
//! and methods that it calls. Code that is compiled only for tests is excluded, and its lines are
//! subtracted from the file's length.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{
    Attribute, Item, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// A parsed file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path below the project's root.
    pub(crate) name: String,
    /// The module path, outermost first; `lib` and `main` for the roots.
    pub(crate) module: Vec<String>,
    /// The number of lines without tests.
    pub(crate) lines: usize,
    /// Whether the file starts with `//!`.
    pub(crate) documented: bool,
    /// Paths with at least two segments, including those of `use`. A path to an item of this crate
    /// begins below the crate's root.
    pub(crate) paths: Vec<Named>,
    /// Names that the file re-exports, with their paths from the crate's root.
    pub(crate) exports: BTreeMap<String, Vec<String>>,
    /// Functions with a body.
    pub(crate) functions: Vec<Function>,
    /// Macros and methods that are called.
    pub(crate) calls: Vec<Call>,
    /// Imports of the whole crate: the line and the problem.
    pub(crate) whole_crate_imports: Vec<(usize, String)>,
}

/// A path in the source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    /// Whether the path leads to an item of this crate; its segments then start below the crate's
    /// root.
    pub(crate) ours: bool,
    pub(crate) segments: Vec<String>,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// The lines from its signature to its last brace.
    pub(crate) lines: usize,
    /// The number of parameters that are tuples, or references to tuples.
    pub(crate) tuples: usize,
}

/// Whether a parameter is a tuple of several values, or a reference to one.
fn is_tuple(input: &syn::FnArg) -> bool {
    let syn::FnArg::Typed(typed) = input else {
        return false;
    };
    let mut kind = &*typed.ty;
    while let syn::Type::Reference(reference) = kind {
        kind = &reference.elem;
    }
    matches!(kind, syn::Type::Tuple(tuple) if tuple.elems.len() > 1)
}

/// A macro or a method that is called.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) line: usize,
    /// `unwrap` for a method, `panic!` for a macro.
    pub(crate) name: String,
    /// The first argument of a method, if it is a string.
    pub(crate) reason: Option<String>,
}

impl Source {
    /// Parses the text of the file called `name`.
    pub(crate) fn parse(name: &str, text: &str) -> syn::Result<Self> {
        let mut source = Self {
            name: name.to_owned(),
            module: module_of(name),
            lines: text.lines().count(),
            documented: text.starts_with("//!"),
            paths: Vec::new(),
            exports: BTreeMap::new(),
            functions: Vec::new(),
            calls: Vec::new(),
            whole_crate_imports: Vec::new(),
        };
        if !source.is_test() {
            let module = source.module.clone();
            let mut walk = Walk {
                module,
                source: &mut source,
            };
            walk.visit_file(&syn::parse_file(text)?);
        }
        Ok(source)
    }

    /// Whether the whole file is compiled for tests only.
    pub(crate) fn is_test(&self) -> bool {
        let name = &self.name;
        name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs")
    }

    /// The outermost module.
    pub(crate) fn top(&self) -> &str {
        &self.module[0]
    }
}

fn module_of(name: &str) -> Vec<String> {
    let path = name
        .strip_prefix("src/")
        .unwrap_or(name)
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

struct Walk<'s> {
    module: Vec<String>,
    source: &'s mut Source,
}

impl Walk<'_> {
    fn path(&mut self, segments: &[String], line: usize) {
        if segments.len() < 2 {
            return;
        }
        let ours = self.rooted(segments);
        let named = Named {
            line,
            ours: ours.is_some(),
            segments: ours.unwrap_or_else(|| segments.to_vec()),
        };
        if !self.source.paths.contains(&named) {
            self.source.paths.push(named);
        }
    }

    /// The path from the crate's root, if it begins with `crate`, `self` or `super`.
    fn rooted(&self, segments: &[String]) -> Option<Vec<String>> {
        // The roots are not modules.
        let root = matches!(self.source.top(), "lib" | "main");
        let here = if root {
            &self.module[1..]
        } else {
            &self.module[..]
        };
        match segments[0].as_str() {
            "crate" => Some(segments[1..].to_vec()),
            "repin" if self.source.top() == "main" => Some(segments[1..].to_vec()),
            "self" => Some(here.iter().chain(&segments[1..]).cloned().collect()),
            "super" => {
                let up = segments
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let above = &here[..here.len().saturating_sub(up)];
                Some(above.iter().chain(&segments[up..]).cloned().collect())
            }
            _ => None,
        }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.use_tree(tree, before)),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(module) = before.last().cloned() {
                    self.export(module, before);
                }
                self.used(before, line);
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.leaf(&name, name.clone(), before, line);
            }
            UseTree::Rename(rename) => {
                let alias = rename.rename.to_string();
                self.leaf(&rename.ident.to_string(), alias, before, line);
            }
            UseTree::Glob(_) => self.leaf("*", "*".to_owned(), before, line),
        }
    }

    fn leaf(&mut self, name: &str, alias: String, before: &mut Vec<String>, line: usize) {
        before.push(name.to_owned());
        self.export(alias, before);
        self.used(before, line);
        before.pop();
    }

    /// Records a name that other files can use through this one. A private import counts: the modules
    /// below see it.
    fn export(&mut self, name: String, segments: &[String]) {
        // A path without `crate`, `self` or `super` begins in a module of this file, or in a crate.
        let here = || self.module.iter().chain(segments).cloned().collect();
        let path = self.rooted(segments).unwrap_or_else(here);
        self.source.exports.insert(name, path);
    }

    fn used(&mut self, segments: &[String], line: usize) {
        // After `use crate as x` or `use crate::*`, later paths do not show their module.
        let hides = self
            .rooted(segments)
            .is_some_and(|path| path.is_empty() || path == ["*"]);
        if hides {
            self.source
                .whole_crate_imports
                .push((line, "imports the whole crate: name the module".to_owned()));
        }
        self.path(segments, line);
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        let last = body.brace_token.span.close().end().line;
        self.source.functions.push(Function {
            name: signature.ident.to_string(),
            line: first,
            lines: last - first + 1,
            tuples: signature
                .inputs
                .iter()
                .filter(|input| is_tuple(input))
                .count(),
        });
    }

    fn call(&mut self, name: String, line: usize, reason: Option<String>) {
        self.source.calls.push(Call { line, name, reason });
    }

    /// Reads the tokens of a macro call, which have no syntax tree: paths, macros and methods are
    /// recognized by their tokens.
    fn tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<_> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let (segments, after) = token_path(&tokens, at);
                    self.token_call(&tokens, (at, after), &segments);
                    self.path(&segments, line);
                    // The loop continues after the last token of the path.
                    at = after - 1;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn token_call(
        &mut self,
        tokens: &[TokenTree],
        (at, after): (usize, usize),
        segments: &[String],
    ) {
        let line = tokens[at].span().start().line;
        let name = segments.last().cloned().unwrap_or_default();
        let method = at > 0 && is_punct(&tokens[at - 1], '.');
        match tokens.get(after) {
            Some(next)
                if is_punct(next, '!')
                    && matches!(tokens.get(after + 1), Some(TokenTree::Group(_))) =>
            {
                self.call(format!("{name}!"), line, None);
            }
            Some(TokenTree::Group(group))
                if method && group.delimiter() == Delimiter::Parenthesis =>
            {
                let first = group.stream().into_iter().next();
                let text = first.and_then(|token| syn::parse2::<syn::LitStr>(token.into()).ok());
                self.call(name, line, text.map(|text| text.value()));
            }
            _ => {}
        }
    }
}

/// The path that begins at `at`, and the index after it.
fn token_path(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let (mut segments, mut at) = (Vec::new(), at);
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(ident.to_string());
        at += 1;
        let colons = tokens.get(at).zip(tokens.get(at + 1));
        let joined =
            colons.is_some_and(|(first, second)| is_joint_colon(first) && is_punct(second, ':'));
        if !joined || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (segments, at)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_joint_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(for_tests_only) {
            let span = item.span();
            self.source.lines -= span.end().line - span.start().line + 1;
        } else {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident == "tests" {
            let line = item.span().start().line;
            self.source.whole_crate_imports.push((
                line,
                "a module called `tests` without #[cfg(test)]".to_owned(),
            ));
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.path(&segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !item.attrs.iter().any(for_tests_only) {
            self.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let text = match call.args.first() {
            Some(syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            })) => Some(text.value()),
            _ => None,
        };
        self.call(
            call.method.to_string(),
            call.method.span().start().line,
            text,
        );
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let name = called
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string())
            .unwrap_or_default();
        self.call(format!("{name}!"), called.path.span().start().line, None);
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, with or without more conditions that must hold.
fn for_tests_only(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition: String = list.tokens.to_string().split_whitespace().collect();
    list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
}
