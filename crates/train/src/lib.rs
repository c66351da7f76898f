//! Models: compile, plan, verify, fit, evaluate, predict, save.
