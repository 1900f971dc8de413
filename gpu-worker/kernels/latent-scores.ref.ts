/** Scores of one query over entries [keys, width], in f64. */
export function latentScoresReference(
  query: ArrayLike<number>,
  entries: readonly ArrayLike<number>[],
  scale: number,
): Float64Array {
  return Float64Array.from(entries, (entry) => {
    let score = 0
    for (let i = 0; i < query.length; i++) score += (query[i] ?? 0) * (entry[i] ?? 0)
    return score * scale
  })
}
