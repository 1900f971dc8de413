// Matrices that the lanes of a subgroup hold together. Must be the first include. Lanes of a subgroup do the same with
// them: the shader's author vouches for it, since the compiler cannot see it.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
