// Lanes that swap values without memory. Must be the first include. Where lanes of a subgroup branch apart, those that
// swap with one another branch alike: the shader's author vouches for it, since the compiler cannot see it.
enable subgroups;
diagnostic(off, subgroup_uniformity);
