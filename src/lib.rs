pub mod catalog;
pub mod env;
pub mod hint;
pub mod home;
pub mod progress;
pub mod spec;
pub mod yaml;
