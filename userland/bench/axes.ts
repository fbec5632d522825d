/** Under which combinations of conditions something is measured. */

export interface Axis {
  readonly values: readonly number[];
  /** Its value while another one varies. */
  readonly usual: number;
  /** It was asked for: all its values are combined with all of the others'. */
  readonly asked: boolean;
}

/**
 * Of the axes that were not asked for, one at a time departs from its usual value: a star instead of a cube, a sixth of the
 * measurements. In the order of the axes, the first one changing slowest.
 */
export function combinations<K extends string>(
  axes: Readonly<Record<K, Axis>>,
): readonly Readonly<Record<K, number>>[] {
  const names = Object.keys(axes) as K[];
  let found: { readonly departed: number; readonly values: Partial<Record<K, number>> }[] = [
    { departed: 0, values: {} },
  ];
  for (const name of names) {
    const { values, usual, asked } = axes[name];
    found = found.flatMap(({ departed, values: before }) =>
      values.map((value) => ({
        departed: departed + (asked || value === usual ? 0 : 1),
        values: { ...before, [name]: value },
      })),
    );
  }
  return found.filter(({ departed }) => departed <= 1).map(({ values }) => values as Record<K, number>);
}
