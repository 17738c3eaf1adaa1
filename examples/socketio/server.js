// A web page and a socket.io connection of one session, both by the same tokens, verified here with npm's jose.
// When the session ends at the provider, its sockets are disconnected within milliseconds: this process follows the
// provider's feed of security events (SSF 1.0, by long poll: RFC 8936), and believes no token while it cannot.
import { createServer } from 'node:http'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import { Server } from 'socket.io'

const { ISSUER = 'http://localhost:8000', CLIENT_ID, CLIENT_SECRET, PORT = '8003' } = process.env
const BASE = `http://localhost:${PORT}` // what this app registered, as its address and as its resource
const MOST_STALENESS = 30_000 // ms for which the last word of the provider is believed
const tell = (event, fields) => console.log(JSON.stringify({ event, at: Date.now(), ...fields })) // never a token

const insecure = ISSUER.startsWith('http:') ? [oidc.allowInsecureRequests] : [] // on this very machine only
const authentication = oidc.ClientSecretBasic(CLIENT_SECRET)
const provider = await oidc.discovery(new URL(ISSUER), CLIENT_ID, undefined, authentication, { execute: insecure })
const ssf = await (await fetch(`${ISSUER}/.well-known/ssf-configuration`)).json()
const keys = createRemoteJWKSet(new URL(provider.serverMetadata().jwks_uri), { cacheMaxAge: 60_000 })

// -- Tokens: verified here, and refused when what they name has ended, or nobody can say ------------------------------

const ended = new Map() // a name -> the moment (ms) after which no token can bear it
let freshUntil = 0 // by performance.now(), which no clock change moves
const stale = () => performance.now() > freshUntil

async function verified(token) {
  const demands = { issuer: ISSUER, audience: BASE, typ: 'at+jwt', algorithms: ['RS256'], requiredClaims: ['sid', 'exp', 'jti'] }
  const { payload, protectedHeader } = await jwtVerify(token, keys, demands)
  const { sid, sub, exp, jti, client_id } = payload
  const [family] = jti.split('.')
  const names = [`sid ${sid}`, `family ${family}`, `jti ${jti}`, `client ${client_id}`, `kid ${protectedHeader.kid}`]
  const claims = { sid, sub, exp, names }
  const problem = problemOf(claims)
  if (problem) throw new Error(problem)
  return claims
}

function problemOf({ names }) {
  if (stale()) return 'The provider cannot be reached'
  if (names.some((name) => ended.has(name))) return 'The session has ended'
}

// -- Sockets: each is in a room for everything that its token names ---------------------------------------------------

const app = express()
const server = createServer(app)
const io = new Server(server)

io.use(async (socket, next) => {
  try {
    socket.data.claims = await verified(socket.handshake.auth.token)
    next()
  } catch (error) {
    next(error)
  }
})

io.on('connection', (socket) => {
  keep(socket, socket.data.claims)
  tell('socket_opened', { sid: socket.data.claims.sid })
  socket.on('token', async (token, answer) => { // a refresh: the socket goes on, if the token is of the same session
    if (typeof answer !== 'function') return // what a client sends may have any shape
    try {
      const newer = await verified(token)
      const { sid, sub } = socket.data.claims
      if (newer.sid !== sid || newer.sub !== sub) throw new Error('The token is of another session')
      if (newer.exp >= socket.data.claims.exp) keep(socket, newer)
      answer(null)
    } catch (error) {
      answer(error.message)
    }
  })
  socket.on('say', (text) => typeof text === 'string' && io.emit('said', text.slice(0, 200)))
  socket.on('disconnect', () => {
    clearTimeout(socket.data.timer)
    tell('socket_closed', { sid: socket.data.claims.sid })
  })
})

function keep(socket, claims) {
  for (const name of socket.data.claims.names) socket.leave(name)
  socket.data.claims = claims
  socket.join(claims.names)
  clearTimeout(socket.data.timer)
  socket.data.timer = setTimeout(() => end(socket.id, 'The token has expired'), claims.exp * 1000 - Date.now())
  const problem = problemOf(claims) // it may have ended since it was verified, before the socket was in its rooms
  if (problem) end(socket.id, problem)
}

function end(room, reason) {
  const sockets = room ? io.in(room) : io
  sockets.emit('session_ended', { code: 4401, reason })
  sockets.disconnectSockets(true)
}

// -- The feed: what has ended, and the proof that nothing else has ----------------------------------------------------

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'
const KEY_REVOKED = 'urn:idp:event-type:key-revoked'
const NAMED = { // what each event says is dead
  [`${CAEP}session-revoked`]: ({ session }) => `sid ${session.id}`,
  'urn:idp:event-type:family-revoked': ({ id }) => `family ${id}`,
  'urn:idp:event-type:token-revoked': ({ jti }) => `jti ${jti}`,
  'urn:idp:event-type:tokens-revoked': ({ application }) => `client ${application.id}`,
  [KEY_REVOKED]: ({ id }) => `kid ${id}`,
}

async function takeIn(text) {
  const demands = { issuer: ISSUER, audience: CLIENT_ID, typ: 'secevent+jwt', algorithms: ['RS256'] }
  const read = () => jwtVerify(text, keys, demands)
  const { payload } = await read().catch(async (error) => {
    if (error.code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error
    await keys.reload() // jose by itself asks once in 30 s; that a key was revoked is signed by one that may be new
    return read()
  })
  for (const [event, { tokens_until }] of Object.entries(payload.events)) {
    const name = NAMED[event]?.(payload.sub_id)
    if (!name) continue
    ended.set(name, tokens_until * 1000)
    for (const [cookie, session] of sessions) if (name === `sid ${session.sid}`) sessions.delete(cookie)
    end(name, 'The session has ended')
    if (event !== KEY_REVOKED) continue
    for (const session of sessions.values()) session.renewAt = 0 // the sessions go on, by tokens of another key
    await keys.reload()
  }
}

let bearer = { until: 0 } // our own access token, and for how long it is used
let stream // kept whatever goes wrong: what was not acknowledged comes again

async function ask(method, url, body) {
  if (performance.now() > bearer.until) {
    const { access_token, expires_in } = await oidc.clientCredentialsGrant(provider, { scope: 'ssf.manage ssf.read' })
    bearer = { token: access_token, until: performance.now() + expires_in * 750 } // three quarters of its life
  }
  const headers = { authorization: `Bearer ${bearer.token}`, 'content-type': 'application/json', prefer: 'wait=10' }
  const answer = await fetch(url, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(15_000) })
  if (answer.status === 401) bearer.until = 0 // it has ended before its time: the next request brings a new one
  if (answer.status === 404) stream = null // a new stream begins with whatever can still matter, so nothing is missed
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status}`)
  return answer.status === 204 ? null : answer.json()
}

const SHORTEST_PAUSE = 500 // ms
let pause = SHORTEST_PAUSE

async function follow() {
  // Named, every one: whoever names none of the provider's own events hears of CAEP's alone, and from now on.
  const wanted = { delivery: { method: 'urn:ietf:rfc:8936' }, events_requested: Object.keys(NAMED) }
  stream ??= await ask('POST', ssf.configuration_endpoint, wanted)
  for (let ack = [], returnImmediately = true; ;) {
    const sent = performance.now() // an answer speaks of what ended before it was asked for
    const { sets, moreAvailable } = await ask('POST', stream.delivery.endpoint_url, { ack, returnImmediately })
    for (const text of Object.values(sets)) await takeIn(text)
    ack = Object.keys(sets)
    returnImmediately = Boolean(moreAvailable)
    if (!moreAvailable) believeUntil(sent + MOST_STALENESS)
    pause = SHORTEST_PAUSE
  }
}

let silence
function believeUntil(moment) {
  if (stale()) tell('feed_followed')
  freshUntil = moment
  clearTimeout(silence)
  silence = setTimeout(() => { tell('feed_lost'); end(null, 'The provider cannot be reached') }, moment - performance.now())
}

;(async () => {
  for (;;) {
    await follow().catch((error) => tell('feed_failed', { problem: error.message }))
    await sleep(pause)
    pause = Math.min(2 * pause, MOST_STALENESS / 4)
    for (const [name, until] of ended) if (until < Date.now()) ended.delete(name)
  }
})()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    const left = (error) => tell('stream_left', { problem: error.message })
    if (stream) await ask('DELETE', `${ssf.configuration_endpoint}?stream_id=${stream.stream_id}`).catch(left)
    process.exit()
  })
}

// -- The page: signs in by the code flow with PKCE, and asks for its access token -------------------------------------

const sessions = new Map() // a cookie's value -> { sid, tokens, renewAt }; for one process, and until it ends
const pending = new Map() // a state -> what must come back with it
const COOKIE = 'chat_session' // cookies know no ports: on localhost every app needs a name of its own
const cookieOf = (request) => new RegExp(`(?:^|; )${COOKIE}=([^;]+)`).exec(request.headers.cookie ?? '')?.[1]

app.get('/', (_request, response) => response.sendFile('page.html', { root: import.meta.dirname }))

app.get('/login', async (_request, response) => {
  const state = oidc.randomState()
  const [pkceCodeVerifier, expectedNonce] = [oidc.randomPKCECodeVerifier(), oidc.randomNonce()]
  pending.set(state, { pkceCodeVerifier, expectedNonce, expectedState: state, idTokenExpected: true })
  setTimeout(() => pending.delete(state), 600_000).unref()
  response.cookie('chat_login', state, { httpOnly: true, sameSite: 'lax' })
  response.redirect(oidc.buildAuthorizationUrl(provider, {
    redirect_uri: `${BASE}/callback`,
    scope: 'openid profile',
    state,
    nonce: expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  }).href)
})

app.get('/callback', async (request, response) => {
  const { state } = request.query
  const checks = pending.get(state)
  pending.delete(state)
  if (!checks || !request.headers.cookie?.includes(`chat_login=${state}`)) return response.sendStatus(400)
  const tokens = await oidc.authorizationCodeGrant(provider, new URL(request.originalUrl, BASE), checks)
  const { sid } = await verified(tokens.access_token) // a session that ended meanwhile signs nobody in
  const cookie = randomBytes(32).toString('base64url')
  sessions.set(cookie, session(sid, tokens))
  tell('signed_in', { sid })
  response.cookie(COOKIE, cookie, { httpOnly: true, sameSite: 'lax' }).redirect(303, '/')
})

const session = (sid, tokens) => ({ sid, tokens, renewAt: Date.now() + tokens.expires_in * 750 }) // at three quarters

app.get('/token', async (request, response) => {
  response.set('Cache-Control', 'no-store')
  let found = sessions.get(cookieOf(request))
  if (found && Date.now() > found.renewAt) {
    const tokens = await oidc.refreshTokenGrant(provider, found.tokens.refresh_token).catch(() => null)
    found = tokens && sessions.has(cookieOf(request)) ? session(found.sid, { ...found.tokens, ...tokens }) : null
    if (found) sessions.set(cookieOf(request), found)
  }
  if (!found) return response.status(401).json({ error: 'not signed in' })
  response.json({ token: found.tokens.access_token, renewIn: found.renewAt - Date.now() })
})

app.post('/sign-out', (request, response) => {
  const found = sessions.get(cookieOf(request))
  if (request.headers.origin !== BASE || !found) return response.redirect(303, '/')
  sessions.delete(cookieOf(request))
  const parameters = { post_logout_redirect_uri: `${BASE}/`, id_token_hint: found.tokens.id_token }
  response.redirect(303, oidc.buildEndSessionUrl(provider, parameters).href)
})

server.listen(Number(PORT), '127.0.0.1', () => tell('started', { url: BASE }))
