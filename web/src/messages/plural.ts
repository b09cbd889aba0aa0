/** Numbers in sentences. */

export type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }

/** Return a function that writes a number with the form that the language has for it. `#` stands for the number. */
export function pluralize(locale: string): (n: number, forms: Forms) => string {
  const rules = new Intl.PluralRules(locale)
  const format = new Intl.NumberFormat(locale)
  return (n, forms) => (forms[rules.select(n)] ?? forms.other).replace("#", format.format(n))
}
