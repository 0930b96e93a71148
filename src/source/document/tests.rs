//! Tests of documents: what two readers could understand differently.
