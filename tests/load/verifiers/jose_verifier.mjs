// A relying party on npm's jose. Called and answering as tests/load/verifiers/watch.py says; JOSE is where the package is.
import { createInterface } from 'node:readline'

const { createRemoteJWKSet, jwtVerify } = await import(process.env.JOSE)
const demands = JSON.parse(process.argv[2])
const keys = createRemoteJWKSet(new URL(demands.jwks_uri), {
  cacheMaxAge: demands.max_age * 1000,
  cooldownDuration: demands.cooldown * 1000,
})
const tally = { verified: 0, failed: 0, latest: 0, errors: [] }

for await (const line of createInterface({ input: process.stdin })) {
  const [issued, token] = line.split(' ')
  try {
    await jwtVerify(token, keys, { algorithms: ['RS256'], issuer: demands.issuer, audience: demands.audience })
    tally.verified += 1
  } catch (error) {
    tally.failed += 1
    tally.errors = [...tally.errors, `${error.code}: ${error.message}`].slice(0, 5)
  }
  tally.latest = Math.max(tally.latest, Date.now() / 1000 - Number(issued))
}
console.log(JSON.stringify(tally))
