//! Sites by name, and the settings of sites that a farm's object keeps.

mod names;
mod settings;
