//! Judges histories: what clients saw, against what a correct service could have answered.
//!
//! It knows neither the service's code nor the simulator: its models are its own.
