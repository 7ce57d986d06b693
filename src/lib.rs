pub mod catalog;
pub mod event;
pub mod hint;
pub mod home;
pub mod process;
pub mod progress;
pub mod spec;
pub mod yaml;
