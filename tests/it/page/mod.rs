//! The backend of `examples/web`, and its live page.

mod fakes;
