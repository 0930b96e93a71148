//! Finds what can be mutated in a source file, and rewrites the file so that each mutant waits
//! behind a switch. Line numbers stay: nothing that is inserted has a newline.
//!
//! Every mutation type-checks without knowing a type, so one build holds them all. Left out are
//! `const fn`, constants, tests, the arguments of macros, and `while` conditions that are always
//! true. Mutants that others dominate are also left out: `!=` for `==`, or `||` for `&&`, is caught
//! wherever both constant conditions and each missing operand are. Calls that show progress, wait or
//! prefetch are never removed, because no test depends on a terminal's progress line or on the time.

use std::{collections::HashSet, ops::Range};

use serde::{Deserialize, Serialize};
use syn::{
    BinOp, Block, Expr, Pat, ReturnType, Signature, Stmt, Type,
    spanned::Spanned,
    visit::{self, Visit},
};

/// One mutant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Site {
    pub file: String,
    pub line: usize,
    pub last_line: usize,
    /// `Type::function`.
    pub function: String,
    /// The text that is mutated, on one line.
    pub text: String,
    /// What stands in its place.
    pub mutation: String,
    /// How many of the same text and mutation come before it in the function.
    pub nth: usize,
}

impl Site {
    /// What names it for as long as its function does not change.
    pub fn key(&self) -> String {
        let nth = self.nth;
        format!(
            "{} {} {} => {} {nth}",
            self.file, self.function, self.text, self.mutation
        )
    }
}

/// Text put around a range of the source.
struct Wrap {
    range: Range<usize>,
    before: String,
    after: String,
}

/// The mutants of a file.
pub struct Found<'s> {
    file: &'s str,
    source: &'s str,
    /// The number of the next mutant.
    next: u32,
    skip: &'s HashSet<String>,
    pub sites: Vec<(u32, Site)>,
    wraps: Vec<Wrap>,
    replaced: Vec<(Range<usize>, &'static str)>,
    names: Vec<String>,
    /// Ranges that are forced already.
    forced: HashSet<Range<usize>>,
    counts: std::collections::HashMap<String, usize>,
}

const SWITCH: &str = "crate::mutants_switch";

/// Methods whose closure answers yes or no.
const PREDICATES: [&str; 15] = [
    "filter",
    "any",
    "all",
    "is_some_and",
    "is_none_or",
    "is_ok_and",
    "is_err_and",
    "take_while",
    "skip_while",
    "retain",
    "find",
    "position",
    "rposition",
    "partition",
    "rfind",
];

/// The receivers of calls that show progress.
const PROGRESS: [&str; 2] = ["progress", "reading"];
/// Functions and methods that only wait.
const WAITS: [&str; 2] = ["sleep", "back_off"];
/// Functions and methods that only send requests or start programs earlier, whose responses are used as without
/// them.
const PREFETCHES: [&str; 2] = ["request_early", "start_version_check"];

impl<'s> Found<'s> {
    /// Reads a file. `skip`: mutants that do not compile.
    pub fn of(
        file: &'s str,
        source: &'s str,
        first: u32,
        skip: &'s HashSet<String>,
    ) -> syn::Result<Self> {
        let mut found = Self {
            file,
            source,
            next: first,
            skip,
            sites: Vec::new(),
            wraps: Vec::new(),
            replaced: Vec::new(),
            names: Vec::new(),
            forced: HashSet::new(),
            counts: std::collections::HashMap::new(),
        };
        let tree = syn::parse_file(source)?;
        found.visit_file(&tree);
        Ok(found)
    }

    /// The file with every mutant behind its switch.
    pub fn rewritten(&self) -> String {
        // At one place what ends comes first, the inner before the outer; then what begins, the
        // outer before the inner. Of equal ranges the first is the outer.
        let mut inserted: Vec<(usize, u8, usize, usize, &str)> = Vec::new();
        for (at, wrap) in self.wraps.iter().enumerate() {
            let (start, end) = (wrap.range.start, wrap.range.end);
            inserted.push((start, 1, usize::MAX - end, at, &wrap.before));
            if !wrap.after.is_empty() {
                inserted.push((end, 0, usize::MAX - start, usize::MAX - at, &wrap.after));
            }
        }
        for (range, text) in &self.replaced {
            inserted.push((range.start, 2, range.len(), 0, text));
        }
        inserted.sort_unstable();
        let (mut out, mut copied) = (String::new(), 0);
        for (at, kind, length, _, text) in inserted {
            out.push_str(&self.source[copied..at]);
            out.push_str(text);
            copied = if kind == 2 { at + length } else { at };
        }
        out.push_str(&self.source[copied..]);
        out
    }

    fn line(&self, at: usize) -> usize {
        self.source[..at].matches('\n').count() + 1
    }

    /// The number of a new mutant; 0 if it is not wanted.
    fn mutant(&mut self, range: &Range<usize>, mutation: &str) -> u32 {
        let function = self.names.join("::");
        let text = self.source[range.clone()]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let (line, last_line) = (self.line(range.start), self.line(range.end));
        let nth = self
            .counts
            .entry(format!("{function} {text} {mutation}"))
            .or_default();
        let site = Site {
            file: self.file.to_owned(),
            line,
            last_line,
            function,
            text,
            mutation: mutation.to_owned(),
            nth: *nth,
        };
        *nth += 1;
        if site.text == mutation || self.skip.contains(&site.key()) {
            return 0;
        }
        let id = self.next;
        self.next += 1;
        self.sites.push((id, site));
        id
    }

    fn wrap(&mut self, range: Range<usize>, before: String, after: &str) {
        let after = after.to_owned();
        self.wraps.push(Wrap {
            range,
            before,
            after,
        });
    }

    /// `true`, `false` or both in place of a condition.
    fn force(&mut self, mut expr: &Expr, to_true: bool, to_false: bool) {
        while let Expr::Paren(inner) = expr {
            expr = &inner.expr;
        }
        let range = range_of(expr);
        if !self.forced.insert(range.clone()) {
            return;
        }
        let to_true = if to_true {
            self.mutant(&range, "true")
        } else {
            0
        };
        let to_false = if to_false {
            self.mutant(&range, "false")
        } else {
            0
        };
        if to_true + to_false > 0 {
            self.wrap(
                range,
                format!("{SWITCH}::force({to_true}, {to_false}, "),
                ")",
            );
        }
        self.operands(expr);
    }

    /// Drops each operand of a chain of `&&` or `||`.
    fn operands(&mut self, expr: &Expr) {
        match expr {
            Expr::Paren(inner) => self.operands(&inner.expr),
            Expr::Unary(inner) if matches!(inner.op, syn::UnOp::Not(_)) => {
                self.operands(&inner.expr);
            }
            Expr::Binary(binary) => {
                let and = match binary.op {
                    BinOp::And(_) => true,
                    BinOp::Or(_) => false,
                    _ => return,
                };
                for side in [&binary.left, &binary.right] {
                    if same_chain(side, and) {
                        self.forced.insert(range_of(side));
                        self.operands(side);
                    } else if !holds_let(side) {
                        self.force(side, and, !and);
                    }
                }
            }
            _ => {}
        }
    }

    fn condition(&mut self, expr: &Expr, to_true: bool) {
        if holds_let(expr) {
            let range = range_of(expr);
            let id = self.mutant(&range, "false");
            if id > 0 {
                self.wrap(range, String::new(), &format!(" && !{SWITCH}::on({id})"));
            }
            self.operands(expr);
        } else {
            self.force(expr, to_true, true);
        }
    }

    /// A statement that is left out.
    fn removable(&mut self, stmt: &Stmt) {
        let Stmt::Expr(expr, Some(_)) = stmt else {
            return;
        };
        let removable = match expr {
            Expr::Assign(assign) => !matches!(
                *assign.left,
                Expr::Path(_) | Expr::Infer(_) | Expr::Tuple(_)
            ),
            _ => is_observable_call(expr),
        };
        if removable {
            let range = range_of(stmt);
            let id = self.mutant(&range, "");
            if id > 0 {
                self.wrap(range, format!("if !{SWITCH}::on({id}) {{ "), " }");
            }
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let is_prefetch = PREFETCHES.iter().any(|name| signature.ident == name);
        if signature.constness.is_some() || signature.ident == "fmt" || is_prefetch {
            return;
        }
        self.names.push(signature.ident.to_string());
        let open = range_of(block).start + 1;
        let whole = range_of(signature);
        let tail = match block.stmts.last() {
            Some(Stmt::Expr(tail, None)) if !returns(block) => Some(tail),
            _ => None,
        };
        match (returned(&signature.output).as_slice(), tail) {
            (["true", "false"], Some(tail)) => self.force(tail, true, true),
            (["None"], Some(tail)) => {
                let range = range_of(tail);
                let id = self.mutant(&range, "None");
                if id > 0 {
                    self.wrap(range, format!("{SWITCH}::none({id}, "), ")");
                }
            }
            (values, tail) => {
                // A body that returns nothing else is no mutant.
                let only = tail.filter(|_| block.stmts.len() == 1);
                let body = only.map(|tail| &self.source[range_of(tail)]);
                for value in values.iter().filter(|value| Some(**value) != body) {
                    let id = self.mutant(&whole, &format!("{{ {value} }}"));
                    if id > 0 {
                        self.wrap(
                            open..usize::MAX,
                            format!("if {SWITCH}::on({id}) {{ return {value}; }} "),
                            "",
                        );
                    }
                }
            }
        }
        visit::visit_block(self, block);
        self.names.pop();
    }
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !left_out(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if left_out(&item.attrs) {
            return;
        }
        let name = &self.source[range_of(&*item.self_ty)];
        let name = name.split('<').next().unwrap_or_default();
        self.names.push(name.to_owned());
        visit::visit_item_impl(self, item);
        self.names.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !left_out(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !left_out(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        self.removable(stmt);
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        self.condition(&expr.cond, true);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_while(&mut self, expr: &'ast syn::ExprWhile) {
        self.condition(&expr.cond, false);
        visit::visit_expr_while(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        let rest = matches!(expr.arms.last(), Some(arm) if matches!(arm.pat, Pat::Wild(_)));
        for (at, arm) in expr.arms.iter().enumerate() {
            if let Pat::Guard(guarded) = &arm.pat {
                self.force(&guarded.guard, true, true);
            } else if rest && at + 1 < expr.arms.len() {
                let range = range_of(&arm.pat);
                let id = self.mutant(&range, "no such arm");
                if id > 0 {
                    self.wrap(range, String::new(), &format!(" if !{SWITCH}::on({id})"));
                }
            }
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let method = call.method.to_string();
        let closure = match call.args.first() {
            Some(Expr::Closure(closure)) => Some(closure),
            _ => None,
        };
        match closure {
            Some(closure) if PREDICATES.contains(&method.as_str()) => {
                self.force(&closure.body, true, true);
            }
            Some(closure) if method == "then" && closure.inputs.is_empty() => {
                self.force(&call.receiver, true, true);
            }
            None if method == "then_some" => self.force(&call.receiver, true, true),
            _ => {}
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let whole = range_of(expr);
        let moved = match expr.op {
            BinOp::Lt(_) => Some(("lt", "<=")),
            BinOp::Le(_) => Some(("le", "<")),
            BinOp::Gt(_) => Some(("gt", ">=")),
            BinOp::Ge(_) => Some(("ge", ">")),
            _ => None,
        };
        match expr.op {
            BinOp::And(_) | BinOp::Or(_) if self.forced.insert(whole.clone()) => {
                self.operands(&Expr::Binary(expr.clone()));
            }
            BinOp::Eq(_) | BinOp::Ne(_) => self.force(&Expr::Binary(expr.clone()), true, true),
            _ if moved.is_some() => self.force(&Expr::Binary(expr.clone()), true, true),
            _ => {}
        }
        if let Some((function, operator)) = moved {
            let id = self.mutant(&whole, operator);
            if id > 0 {
                let (left, right) = (range_of(&*expr.left), range_of(&*expr.right));
                self.wrap(whole, format!("{SWITCH}::{function}({id}, "), ")");
                self.wrap(left, "&(".to_owned(), ")");
                self.wrap(right, "&(".to_owned(), ")");
                self.replaced.push((range_of(&expr.op), ","));
            }
        }
        visit::visit_expr_binary(self, expr);
    }
}

fn range_of(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

/// Whether a bool is `&&` (or `||`) of the chain that it is an operand of.
fn same_chain(expr: &Expr, and: bool) -> bool {
    let Expr::Binary(binary) = expr else {
        return false;
    };
    match binary.op {
        BinOp::And(_) => and,
        BinOp::Or(_) => !and,
        _ => false,
    }
}

/// Whether a condition binds something.
fn holds_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            holds_let(&binary.left) || holds_let(&binary.right)
        }
        _ => false,
    }
}

/// Whether a function changes only when something happens.
fn is_only_timing(name: &syn::Ident) -> bool {
    let mut names = WAITS.iter().chain(&PREFETCHES);
    names.any(|other| name == other)
}

/// Whether an expression is a call, except calls that show progress, wait or prefetch.
fn is_observable_call(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => match &*call.func {
            Expr::Path(function) => {
                let name = function.path.segments.last();
                !name.is_some_and(|name| is_only_timing(&name.ident))
            }
            _ => true,
        },
        Expr::MethodCall(call) => {
            let is_progress = matches!(
                &*call.receiver,
                Expr::Path(path) if PROGRESS.iter().any(|name| path.path.is_ident(name))
            );
            !is_progress && !is_only_timing(&call.method)
        }
        Expr::Try(inner) => is_observable_call(&inner.expr),
        Expr::Await(inner) => is_observable_call(&inner.base),
        _ => false,
    }
}

/// Whether a body returns early, closures aside.
fn returns(block: &Block) -> bool {
    struct Returns(bool);
    impl Visit<'_> for Returns {
        fn visit_expr_return(&mut self, _: &syn::ExprReturn) {
            self.0 = true;
        }
        fn visit_expr_try(&mut self, _: &syn::ExprTry) {
            self.0 = true;
        }
        fn visit_expr_closure(&mut self, _: &syn::ExprClosure) {}
    }
    let mut found = Returns(false);
    found.visit_block(block);
    found.0
}

/// What a function may return at once, by the type that it returns.
fn returned(output: &ReturnType) -> Vec<&'static str> {
    let ReturnType::Type(_, ty) = output else {
        return vec!["()"];
    };
    let Some((name, inner)) = generic(ty) else {
        return Vec::new();
    };
    match name.as_str() {
        "bool" => vec!["true", "false"],
        "Vec" => vec!["Vec::new()"],
        "Option" => vec!["None"],
        "Result" => match inner {
            Some(Type::Tuple(tuple)) if tuple.elems.is_empty() => vec!["Ok(())"],
            Some(inner) => match generic(inner) {
                Some((name, _)) if name == "bool" => vec!["Ok(true)", "Ok(false)"],
                Some((name, _)) if name == "Vec" => vec!["Ok(Vec::new())"],
                Some((name, _)) if name == "Option" => vec!["Ok(None)"],
                _ => Vec::new(),
            },
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The last word of a type's path, and its first argument.
fn generic(ty: &Type) -> Option<(String, Option<&Type>)> {
    struct Opaque(bool);
    impl Visit<'_> for Opaque {
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let Type::Path(path) = ty else { return None };
    let mut opaque = Opaque(false);
    opaque.visit_type(ty);
    let last = path.path.segments.last().filter(|_| !opaque.0)?;
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                syn::GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
        }
        _ => None,
    };
    Some((last.ident.to_string(), inner))
}

/// `#[test]`, `#[cfg(test)]`, and `#[cfg(not(...))]`: what other systems have instead.
fn left_out(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("test")
            || matches!(&attr.meta, syn::Meta::List(list)
                if list.path.is_ident("cfg")
                    && ["test", "not"].iter().any(|word| list.tokens.to_string().starts_with(word)))
    })
}

impl Site {
    /// What stands for the number 0, which is no mutant.
    pub fn nothing() -> Self {
        Self {
            file: String::new(),
            line: 0,
            last_line: 0,
            function: String::new(),
            text: String::new(),
            mutation: String::new(),
            nth: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> (String, Vec<String>) {
        let none = HashSet::new();
        let found = Found::of("a.rs", source, 1, &none).expect("the source parses");
        let text = found.rewritten().replace("crate::mutants_switch::", "");
        assert_eq!(text.lines().count(), source.lines().count(), "{text}");
        let shown = |(_, site): &(u32, Site)| format!("{} => {}", site.text, site.mutation);
        (text, found.sites.iter().map(shown).collect())
    }

    #[test]
    fn a_condition_is_forced_and_loses_each_operand() {
        let (text, sites) = rewritten("fn f() -> u8 { if a && (b || c) { 1 } else { 2 } }");
        assert_eq!(
            text,
            "fn f() -> u8 { if force(1, 2, force(3, 0, a) && (force(4, 0, force(0, 5, b) || force(0, 6, c)))) { 1 } else { 2 } }"
        );
        assert_eq!(sites.len(), 6);
        assert_eq!(sites[3], "b || c => true");
    }

    #[test]
    fn a_condition_that_binds_is_false_and_loses_its_guards() {
        let (text, _) = rewritten("fn f() -> u8 { if let Some(a) = b && a { 1 } else { 2 } }");
        assert_eq!(
            text,
            "fn f() -> u8 { if let Some(a) = b && force(2, 0, a) && !on(1) { 1 } else { 2 } }"
        );
    }

    #[test]
    fn a_bound_moves_and_its_comparison_is_forced() {
        let (text, sites) = rewritten("fn f(a: u8) -> u8 { while a < 1 + b {} 3 }");
        assert_eq!(
            text,
            "fn f(a: u8) -> u8 { while force(0, 1, lt(2, &(a) , &(1 + b))) {} 3 }"
        );
        assert_eq!(sites, ["a < 1 + b => false", "a < 1 + b => <="]);
    }

    #[test]
    fn statements_arms_closures_and_whole_functions() {
        let (text, _) = rewritten("fn f() -> Result<(), E> { a.b(c)?; Ok(()) }");
        assert_eq!(
            text,
            "fn f() -> Result<(), E> {if on(1) { return Ok(()); }  if !on(2) { a.b(c)?; } Ok(()) }"
        );
        let (text, _) = rewritten("fn f() -> Option<u8> { match a { 1 => b, _ => None } }");
        assert_eq!(
            text,
            "fn f() -> Option<u8> { none(1, match a { 1 if !on(2) => b, _ => None }) }"
        );
        let (text, _) = rewritten("fn f() -> u8 { a.filter(|b| b.c()) }");
        assert_eq!(text, "fn f() -> u8 { a.filter(|b| force(1, 2, b.c())) }");
    }

    #[test]
    fn condition_in_parentheses_is_forced_once() {
        let (_, sites) = rewritten("fn f() -> u8 { (a != b).then_some(1); 2 }");
        assert_eq!(sites[1..], ["a != b => true", "a != b => false"]);
    }

    #[test]
    fn progress_waiting_and_prefetching_are_not_removed() {
        let (_, sites) = rewritten(
            "fn f() -> u8 { progress.step(); a.b.sleep(1).await; tokio::time::sleep(1).await; a.step(); 2 }",
        );
        assert_eq!(sites, ["a.step(); => (left out)".replace("(left out)", "")]);
        let (_, sites) = rewritten("fn request_early() -> bool { a && b }");
        assert!(sites.is_empty(), "{sites:?}");
        let (_, sites) = rewritten("fn f() -> u8 { self.request_early(a)?; 2 }");
        assert!(sites.is_empty(), "{sites:?}");
    }

    #[test]
    fn body_is_not_replaced_by_itself() {
        let (_, sites) = rewritten("fn f() -> Result<Option<u8>, u8> { Ok(None) }");
        assert!(sites.is_empty(), "{sites:?}");
    }

    #[test]
    fn constants_and_tests_are_left_alone() {
        for source in [
            "const fn f() -> bool { a == b }",
            "const A: bool = 1 == 2;",
            "#[cfg(test)] mod tests { fn f() -> bool { a == b } }",
            "macro_rules! m { () => { if a { b } } }",
        ] {
            let (text, sites) = rewritten(source);
            assert_eq!((text.as_str(), sites.len()), (source, 0));
        }
    }
}
