//! Integration tests: one module per command or topic, and the shared helpers in `support`.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic fails the test, and no other crate uses these items"
)]

mod support;

mod action;
mod after;
mod after_gitea;
mod apply;
mod base_rules;
mod book;
mod checkout;
mod cli;
mod commit;
mod conformance;
mod contents;
mod crash;
mod crowd;
mod docs;
mod doctor;
mod explain;
mod faults;
mod fleet_close;
mod fleet_examples;
mod fleet_list;
mod fleet_merge;
mod fleet_opening;
mod fleet_promote;
mod fleet_pull_requests;
mod fleet_reading;
mod fleet_rollback;
mod fleet_scale;
mod forge;
mod freshness;
mod github;
mod globs;
mod history;
mod history_kept;
mod history_log;
mod history_page;
mod hooks;
mod hostile_tree;
mod init;
mod interrupt;
mod inventory;
mod inventory_tree;
mod kills;
mod layouts;
mod limits;
mod machines;
mod memory;
mod nightly;
mod outside;
mod packages;
mod places;
mod places_forge;
mod plan;
mod power;
mod promote;
mod prune;
mod prune_ghcr;
mod prune_guards;
mod prune_model;
mod pull_request;
mod readme;
mod real_forge;
mod reconcile;
mod registries;
mod remote;
mod requests;
mod resolve;
mod revisions;
mod rivals;
mod rivals_github;
mod rollback;
mod sarif;
mod schema;
mod scripts;
mod servers;
mod set;
mod smoke;
mod smoke_engines;
mod status;
mod streams;
mod sync;
mod tokens;
mod trial;
mod trusted;
mod untrusted;
mod verify;
mod version;
mod waiting;
mod workflows;
