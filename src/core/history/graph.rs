//! The commits that are reachable from the tip of a branch, and the order in which they are visited.
//!
//! The *line* is the first-parent line of the tip. Every other commit was brought in by a merge of the
//! line. A visit goes from each commit to the commits whose first parent it is, so that the state
//! after a commit follows from the state after its first parent; the line is visited last and never
//! left.

use std::{collections::HashMap, mem};

use crate::git::{ObjectId, commits::Parents};

/// A step of the visit. Commits are identified by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The commit follows its first parent, or no commit.
    Enter(usize),
    /// The state is again the one before this commit.
    Leave(usize),
}

/// A state that follows from commit to commit, and returns to an earlier one.
pub(super) trait Fold {
    /// Adds a commit to the state after its first parent.
    fn visit(&mut self, commit: usize);

    /// The number of changes of the state.
    fn changes(&self) -> usize;

    /// Returns to the state with this number of changes.
    fn undo(&mut self, changes: usize);
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The first-parent line, oldest commit first.
    pub(super) line: Vec<usize>,
    pub(super) steps: Vec<Step>,
    /// The commits that each commit of the line brought in, those of its second parent first, newer
    /// commits first.
    pub(super) merged: Vec<Vec<usize>>,
    /// The position in the line at which each commit was brought in.
    pub(super) positions: Vec<usize>,
    nodes: Vec<Node>,
    /// The commits of which each one is a parent.
    children: Vec<Vec<usize>>,
}

/// The parents of a commit.
#[derive(Debug, Clone)]
struct Node {
    first: Option<usize>,
    others: Vec<usize>,
}

impl Node {
    fn parents(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.first.into_iter().chain(self.others.iter().copied())
    }
}

impl Graph {
    /// The graph of these commits; `tip` is one of them. Parents that are not among them are ignored.
    pub(super) fn new<'c>(
        commits: impl Iterator<Item = (&'c ObjectId, &'c Parents)> + Clone,
        tip: &ObjectId,
    ) -> Self {
        let indices: HashMap<_, _> = (commits.clone().enumerate())
            .map(|(index, (id, _))| (*id, index))
            .collect();
        let index = |id: &ObjectId| indices.get(id).copied();
        let mut nodes = Vec::with_capacity(indices.len());
        for (_, parents) in commits {
            nodes.push(Node {
                first: parents.first.as_ref().and_then(index),
                others: parents.others.iter().filter_map(index).collect(),
            });
        }
        Self::from_nodes(nodes, index(tip))
    }

    /// The graph of a line without merges.
    #[cfg(test)]
    pub(super) fn linear(commits: usize) -> Self {
        let node = |index: usize| Node {
            first: index.checked_sub(1),
            others: Vec::new(),
        };
        Self::from_nodes((0..commits).map(node).collect(), commits.checked_sub(1))
    }

    fn from_nodes(nodes: Vec<Node>, tip: Option<usize>) -> Self {
        let mut line = Vec::new();
        let mut next = tip;
        while let Some(index) = next {
            line.push(index);
            next = nodes[index].first;
        }
        line.reverse();
        let mut children = vec![Vec::new(); nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for parent in node.parents() {
                children[parent].push(index);
            }
        }
        let mut graph = Self {
            line,
            nodes,
            children,
            ..Self::default()
        };
        graph.find_merged();
        graph.find_steps();
        graph
    }

    /// Folds the commits from a position in the line. Those of the line are never undone.
    pub(super) fn fold(&self, start: usize, fold: &mut impl Fold) {
        // The number of changes before each commit that was entered and not left.
        let mut marks = Vec::new();
        for step in &self.steps {
            match *step {
                Step::Enter(commit) => {
                    marks.push(fold.changes());
                    if self.positions[commit] >= start {
                        fold.visit(commit);
                    }
                }
                Step::Leave(_) => fold.undo(marks.pop().unwrap_or_default()),
            }
        }
    }

    /// Whether a commit is on the line.
    pub(super) fn is_on_line(&self, commit: usize) -> bool {
        self.line.get(self.positions[commit]) == Some(&commit)
    }

    pub(super) fn first_parent(&self, commit: usize) -> Option<usize> {
        self.nodes[commit].first
    }

    /// The parents of a commit except the first.
    pub(super) fn other_parents(&self, commit: usize) -> &[usize] {
        &self.nodes[commit].others
    }

    /// Whether a commit is a proper ancestor of another one.
    pub(super) fn is_ancestor(&self, commit: usize, other: usize) -> bool {
        if self.is_on_line(commit) && self.is_on_line(other) {
            return self.positions[commit] < self.positions[other];
        }
        self.descendants(commit)[other]
    }

    /// Whether each commit is this one or an ancestor of it.
    pub(super) fn reached_by(&self, commit: usize) -> Vec<bool> {
        self.follow(vec![commit], |index| self.nodes[index].parents())
    }

    /// Whether each commit has this one as an ancestor.
    pub(super) fn descendants(&self, commit: usize) -> Vec<bool> {
        let children = &self.children;
        self.follow(children[commit].clone(), |index| {
            children[index].iter().copied()
        })
    }

    /// The merges that brought a commit in: their first parents do not reach it.
    pub(super) fn merges_of(&self, commit: usize) -> impl Iterator<Item = usize> {
        let is_descendant = self.descendants(commit);
        (0..self.nodes.len()).filter(move |merge| {
            let first = self.nodes[*merge].first;
            is_descendant[*merge]
                && first.is_none_or(|first| first != commit && !is_descendant[first])
        })
    }

    /// Whether each commit is one of `next`, or `step` leads to it from one.
    fn follow<I: Iterator<Item = usize>>(
        &self,
        mut next: Vec<usize>,
        step: impl Fn(usize) -> I,
    ) -> Vec<bool> {
        let mut is_reached = vec![false; self.nodes.len()];
        while let Some(index) = next.pop() {
            if !mem::replace(&mut is_reached[index], true) {
                next.extend(step(index));
            }
        }
        is_reached
    }

    /// Whether each commit is the first of the line or has it as an ancestor; `None` if there is only one history. A merge
    /// may have brought in others.
    pub(super) fn joined(&self) -> Option<Vec<bool>> {
        let first = *self.line.first()?;
        let is_root = |node: &&Node| node.first.is_none() && node.others.is_empty();
        self.nodes.iter().filter(is_root).nth(1)?;
        let mut is_joined = self.descendants(first);
        is_joined[first] = true;
        Some(is_joined)
    }

    fn find_merged(&mut self) {
        const UNKNOWN: usize = usize::MAX;
        self.positions = vec![UNKNOWN; self.nodes.len()];
        for (position, commit) in self.line.iter().enumerate() {
            self.positions[*commit] = position;
        }
        self.merged = vec![Vec::new(); self.line.len()];
        for (position, commit) in self.line.iter().enumerate() {
            let mut next: Vec<usize> = self.nodes[*commit].others.iter().rev().copied().collect();
            while let Some(index) = next.pop() {
                if self.positions[index] == UNKNOWN {
                    self.positions[index] = position;
                    self.merged[position].push(index);
                    next.extend(self.nodes[index].parents().rev());
                }
            }
        }
    }

    fn find_steps(&mut self) {
        let mut children = vec![Vec::new(); self.nodes.len()];
        let mut next = Vec::new();
        // A last child is visited first, so the commits of the line are first children.
        let others = (0..self.nodes.len()).filter(|index| !self.is_on_line(*index));
        for index in self.line.iter().copied().chain(others) {
            match self.nodes[index].first {
                Some(first) => children[first].push(index),
                None => next.push(Step::Enter(index)),
            }
        }
        while let Some(step) = next.pop() {
            self.steps.push(step);
            if let Step::Enter(index) = step {
                if !self.is_on_line(index) {
                    next.push(Step::Leave(index));
                }
                next.extend(children[index].iter().copied().map(Step::Enter));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::graph::Step::*;

    fn graph(nodes: &[(Option<usize>, &[usize])]) -> Graph {
        let node = |(first, others): &(Option<usize>, &[usize])| Node {
            first: *first,
            others: others.to_vec(),
        };
        Graph::from_nodes(nodes.iter().map(node).collect(), nodes.len().checked_sub(1))
    }

    #[test]
    fn merge_may_bring_in_another_history() {
        // 0 is the first of the line; 1 and 2 have a history of their own until the merge 3.
        let graph_of_two = graph(&[(None, &[]), (None, &[]), (Some(1), &[]), (Some(0), &[2])]);
        assert_eq!(graph_of_two.joined(), Some(vec![true, false, false, true]));
        // The second parent continues the line, and adds another history.
        let graph_of_both = graph(&[(None, &[]), (None, &[]), (Some(1), &[0]), (Some(0), &[2])]);
        assert_eq!(graph_of_both.joined(), Some(vec![true, false, true, true]));
        assert_eq!(Graph::linear(3).joined(), None);
    }

    #[test]
    fn line_is_visited_last_and_never_left() {
        // 0 ─ 1 ─ 4 ─ 5 is the line; 2 ─ 3 begins at 0 and is merged by 4.
        let merge = graph(&[
            (None, &[]),
            (Some(0), &[]),
            (Some(0), &[]),
            (Some(2), &[]),
            (Some(1), &[3]),
            (Some(4), &[]),
        ]);
        assert_eq!(merge.line, [0, 1, 4, 5]);
        let steps = [0, 2, 3].map(Enter).into_iter();
        let steps: Vec<_> = steps
            .chain([Leave(3), Leave(2), Enter(1), Enter(4), Enter(5)])
            .collect();
        assert_eq!(merge.steps, steps);
        assert_eq!(merge.merged, [vec![], vec![], vec![3, 2], vec![]]);
        assert_eq!(merge.positions, [0, 1, 2, 2, 2, 3]);
        let descendants = merge.descendants(2);
        assert_eq!(descendants, [false, false, false, true, true, true]);
    }

    #[test]
    fn unrelated_history_is_visited_before_the_line() {
        let unrelated = graph(&[(None, &[]), (None, &[]), (Some(1), &[0])]);
        assert_eq!(unrelated.steps, [Enter(0), Leave(0), Enter(1), Enter(2)]);
    }

    #[test]
    fn commit_belongs_to_its_first_merge() {
        // 1 is merged by 2 and again by 3.
        let twice = graph(&[
            (None, &[]),
            (Some(0), &[]),
            (Some(0), &[1]),
            (Some(2), &[1]),
        ]);
        assert_eq!(twice.merged, [vec![], vec![1], vec![]]);
    }

    #[test]
    fn descendants_of_repeated_merges_are_visited_once() {
        // The number of ways between the first and the last commit exceeds 10^20.
        let node = |index: usize| Node {
            first: index.checked_sub(1),
            others: index.checked_sub(2).into_iter().collect(),
        };
        let repeated = Graph::from_nodes((0..100).map(node).collect(), Some(99));
        assert_eq!(repeated.descendants(1)[..3], [false, false, true]);
        assert!(repeated.descendants(0)[99]);
    }

    #[test]
    fn empty_graph_has_no_steps() {
        assert_eq!(Graph::linear(0).steps, []);
        assert_eq!(Graph::linear(2).steps, [Enter(0), Enter(1)]);
    }
}
