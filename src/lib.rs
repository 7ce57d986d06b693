pub mod catalog;
pub mod data;
pub mod hint;
pub mod home;
pub mod progress;
pub mod spec;
pub mod yaml;
