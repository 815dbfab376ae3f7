//! See the files beside this one for what each part does alone.
