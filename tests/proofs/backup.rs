//! `tidegate backup` and `restore` as an operator has them: taken while the broker serves, restored in its place, broken
//! off at any time, with stock clients that live through it.

#[path = "backup/broken_off.rs"]
mod broken_off;
#[path = "backup/fixture.rs"]
mod fixture;
#[path = "backup/going_on.rs"]
mod going_on;
#[path = "backup/places.rs"]
mod places;
