//! The Kubernetes side goes wrong: answers of the API server lost, refused or late, watches cut, silent or old, rights,
//! kinds and namespaces taken away. What holds of every scenario is `Watch`, and that no secret is put out.

mod crossing;
mod leading;
mod objects;
mod rights;
mod scene;
mod watches;
mod writes;
