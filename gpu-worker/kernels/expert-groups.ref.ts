/** The pairs of each expert, ascending. */
export function expertGroupsReference(chosen: ArrayLike<number>, expertCount: number): number[][] {
  const groups: number[][] = Array.from({ length: expertCount }, () => [])
  for (let pair = 0; pair < chosen.length; pair++) groups[chosen[pair] ?? 0]?.push(pair)
  return groups
}
