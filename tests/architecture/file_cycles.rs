//! No two source files of a crate depend on each other, directly or through others.
//!
//! A file may use what the modules above it define: that dependency on its own parents is not counted.
//!
//! The imports are read from the text: `use` declarations, and paths that begin with `crate`, `super`, `self` or the name of a
//! child module. A path to a re-export counts as a dependency on the file that defines the item, not on the `mod.rs` that
//! re-exports it. Test modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The sources of each crate whose files must not form a cycle.
const ROOTS: [&str; 14] = [
    "crates/api/src",
    "crates/classifier/src",
    "crates/feedback/src",
    "crates/finetune/src",
    "crates/image/src",
    "crates/inference/src",
    "crates/oip/src",
    "crates/plots/src",
    "crates/runtime/src",
    "crates/server/src",
    "model-import/graph/src",
    "model-import/src",
    "shaders/src",
    "src",
];

/// A module's path below the crate root, such as `["batching", "policy"]`.
pub type Module = Vec<String>;

/// One source file.
pub struct Source {
    path: PathBuf,
    code: String,
    /// What a name that a `use` declaration brings into scope stands for.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

#[test]
fn source_files_form_no_cycles() {
    let mut found = Vec::new();
    for root in ROOTS.iter().map(Path::new).filter(|root| root.is_dir()) {
        let sources = sources(root);
        assert!(!sources.is_empty(), "{}: no sources", root.display());
        let edges = edges(&sources);
        for cycle in cycles(&edges) {
            let names = cycle.iter().map(|module| sources[*module].path.display().to_string());
            found.push(names.collect::<Vec<_>>().join(" <-> "));
        }
    }
    assert!(found.is_empty(), "files that depend on each other:\n{}", found.join("\n"));
}

/// Every source file of a crate by its module path, without test modules.
pub fn sources(root: &Path) -> BTreeMap<Module, Source> {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    let mut sources = BTreeMap::new();
    for path in paths {
        let mut module: Module = path
            .strip_prefix(root)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_string())
            .collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] || module == ["main"] {
            module.pop();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = without_comments_and_tests(&text);
        let (imports, globs) = imports(&code);
        // `main.rs` beside `lib.rs` is a crate of its own, and nothing imports it.
        if path.ends_with("main.rs") && root.join("lib.rs").exists() {
            continue;
        }
        sources.insert(module, Source { path, code, imports, globs });
    }
    sources
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        match () {
            () if is_test => {}
            () if path.is_dir() => collect(&path, found),
            () if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            () => {}
        }
    }
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = code.lines().map(|line| match line.find("//") {
        // An address in a string is not a comment; whatever follows it holds no path.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that `use` declarations bring into scope, and the modules they import everything from.
fn imports(code: &str) -> (BTreeMap<String, Vec<String>>, Vec<Vec<String>>) {
    let (mut names, mut globs) = (BTreeMap::new(), Vec::new());
    for (at, _) in code.match_indices("use ") {
        let before = &code[..at];
        let begins = before.is_empty()
            || before.ends_with('\n')
            || before.ends_with("    ")
            || before.ends_with("pub ")
            || before.ends_with(") ");
        let Some(end) = code[at..].find(';').filter(|_| begins) else { continue };
        for mut path in expand(&code[at + 4..at + end]) {
            if path.last().is_some_and(|last| last == "*") {
                path.pop();
                globs.push(path);
                continue;
            }
            let alias = path.iter().position(|part| part.contains(" as ")).map(|at| {
                let (name, alias) = path[at].split_once(" as ").unwrap();
                let (name, alias) = (name.trim().to_string(), alias.trim().to_string());
                path[at] = name;
                alias
            });
            if path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            if let Some(name) = alias.or_else(|| path.last().cloned()) {
                names.insert(name, path);
            }
        }
    }
    (names, globs)
}

/// `a::{b, c::{d, e}}` as its single paths.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        return vec![tree.split("::").map(|part| part.trim().to_string()).collect()];
    };
    let prefix: Vec<String> =
        tree[..open].split("::").map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect();
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for c in inner.chars() {
        match c {
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                item.push(c);
            }
        }
    }
    items.push(item);
    let items = items.iter().filter(|item| !item.trim().is_empty());
    items.flat_map(|item| expand(item)).map(|path| prefix.iter().cloned().chain(path).collect()).collect()
}

/// Each module with the modules that its file depends on.
pub fn edges(sources: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let mut edges = BTreeMap::new();
    for (module, source) in sources {
        let mut targets = BTreeSet::new();
        let imported = source.imports.values().cloned().chain(source.globs.iter().cloned());
        for path in imported.chain(paths(&source.code)) {
            let target = resolve(sources, module, &path, 0);
            if let Some(target) = target.filter(|target| !module.starts_with(target)) {
                targets.insert(target);
            }
        }
        edges.insert(module, targets);
    }
    edges
}

/// Every path in the code that has two parts or more.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let start = rest[..at].rfind(|c| !is_word(c)).map_or(0, |before| before + 1);
        let path: &str = &rest[start..];
        let end = path.find(|c: char| !is_word(c) && c != ':').unwrap_or(path.len());
        let parts: Vec<String> = path[..end].split("::").filter(|part| !part.is_empty()).map(str::to_string).collect();
        if parts.len() > 1 {
            found.push(parts);
        }
        rest = &rest[(start + end).max(at + 2)..];
    }
    found
}

/// The module whose file defines what `path` names when it stands in `module`; nothing for what is not of this crate.
fn resolve<'a>(
    sources: &'a BTreeMap<Module, Source>,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<&'a Module> {
    let mut at: Module = module.to_vec();
    let mut parts = path.iter().peekable();
    match parts.peek()?.as_str() {
        "crate" => {
            at.clear();
            parts.next();
        }
        "self" => {
            parts.next();
        }
        "super" => {
            while parts.next_if(|part| *part == "super").is_some() {
                at.pop()?;
            }
        }
        first => {
            let child: Module = module.iter().cloned().chain([first.to_string()]).collect();
            if !sources.contains_key(&child) {
                return None;
            }
        }
    }
    while let Some(part) = parts.peek() {
        let child: Module = at.iter().cloned().chain([part.to_string()]).collect();
        if !sources.contains_key(&child) {
            break;
        }
        at = child;
        parts.next();
    }
    let (found, source) = sources.get_key_value(&at)?;
    // An item of that file, or a re-export of another's.
    let Some(item) = parts.next().filter(|_| depth < 8) else { return Some(found) };
    match source.imports.get(item) {
        Some(import) => match resolve(sources, &at, import, depth + 1) {
            Some(target) => Some(target),
            // A re-export of another crate's item is no dependency on a file of this one, but the file that names it is.
            None => Some(found),
        },
        None => Some(found),
    }
}

/// The strongly connected components of two files or more (Tarjan's algorithm, without recursion limits that matter here).
fn cycles<'a>(edges: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> Vec<Vec<&'a Module>> {
    let reach = |from: &'a Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for target in &edges[module] {
                if seen.insert(*target) {
                    next.push(target);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = edges.keys().map(|module| (*module, reach(module))).collect();
    let mut found: Vec<Vec<&Module>> = Vec::new();
    for (module, targets) in &reached {
        let known = found.iter().any(|cycle| cycle.contains(module));
        if targets.contains(module) && !known {
            found.push(targets.iter().filter(|target| reached[**target].contains(*module)).copied().collect());
        }
    }
    found
}

#[test]
fn braces_and_aliases_are_expanded() {
    let (names, globs) = imports("use super::one::{self, Two as Three, four::{Five, *}};\n");
    let path = |name: &str| names[name].join("::");
    assert_eq!(
        (path("one"), path("Three"), path("Five")),
        ("super::one".into(), "super::one::Two".into(), "super::one::four::Five".into())
    );
    assert_eq!(globs, [["super", "one", "four"]]);
}

#[test]
fn a_cycle_through_three_files_is_found() {
    let module = |name: &str| vec![name.to_string()];
    let (a, b, c, d) = (module("a"), module("b"), module("c"), module("d"));
    let edges = BTreeMap::from([
        (&a, BTreeSet::from([&b, &d])),
        (&b, BTreeSet::from([&c])),
        (&c, BTreeSet::from([&a])),
        (&d, BTreeSet::new()),
    ]);
    assert_eq!(cycles(&edges), [vec![&a, &b, &c]]);
}
