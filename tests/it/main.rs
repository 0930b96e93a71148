//! Integration tests: one module per command or topic, and the shared helpers in `support`.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic fails the test, and no other crate uses these items"
)]

#[allow(dead_code, reason = "the library's tests use other parts")]
mod support;

mod action;
mod after;
mod after_gitea;
mod base_rules;
mod book;
mod build_order;
mod builds;
mod builds_registry;
mod checkout;
mod cli;
mod color;
mod columns;
mod commit;
mod contents;
mod crash;
mod crowd;
mod diff;
mod diff_contents;
mod diff_forge;
mod docs;
mod doctor;
mod environments;
mod explain;
mod faults;
mod fleet_close;
mod fleet_examples;
mod fleet_list;
mod fleet_merge;
mod fleet_promote;
mod fleet_pull_requests;
mod fleet_rollback;
mod fleet_scale;
mod fleet_sets;
mod freshness;
mod github;
mod globs;
mod history_page;
mod hooks;
mod hostile_environment;
mod hostile_tree;
mod init;
mod init_environments;
mod init_update;
mod interleaved;
mod interrupt;
mod inventory;
mod kills;
mod layouts;
mod limits;
mod limits_hub;
mod machines;
mod memory;
mod merge_guards;
mod nightly;
mod outside;
mod packages;
mod paths;
mod places;
mod places_forge;
mod plain_http;
mod power;
mod promote;
mod prune;
mod prune_ghcr;
mod prune_guards;
mod prune_references;
mod pull_request;
mod readme;
mod real_forge;
mod registries;
mod rehearse;
mod requests;
mod resolve;
mod revisions;
mod rivals;
mod rivals_github;
mod rollback;
mod sarif;
mod scripts;
mod servers;
mod set;
mod sets;
mod several_sets;
mod stages;
mod status;
mod streams;
mod subjects;
mod sync;
mod tags;
mod tokens;
mod trial;
mod trust_update;
mod trusted;
mod untrusted;
mod verify;
mod version;
mod workflows;
