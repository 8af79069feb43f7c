// Runs npm's http-cache-tests against a cache and prints what came of each test, one JSON array:
// its id, its kind (`required`, `optimal`, or `check`, which only tells of behaviour), the tests it
// builds on, and true or why not. `node run.mjs PACKAGE BASE [ID…]`; the suite's own server is the
// cache's origin, started beforehand.
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [dir, base, ...ids] = process.argv.slice(2)
const load = path => import(pathToFileURL(resolve(dir, path)))
const fetch = createRequire(pathToFileURL(resolve(dir, 'cli.mjs')))('node-fetch')
const { runTests, getResults } = await load('client/runner.mjs')
const suites = (await load('tests/index.mjs')).default

const wanted = suites.map(suite => ({
  ...suite,
  tests: suite.tests.filter(test => !test.browser_only && (ids.length === 0 || ids.includes(test.id)))
}))
await runTests(wanted, fetch, false, base)
const results = getResults()
console.log(JSON.stringify(wanted.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  passed: results[test.id] === true,
  why: results[test.id] === true ? '' : String(results[test.id])
})))))
