//! Proofs that cross crates: the main job with stock clients, crashes, benches.
