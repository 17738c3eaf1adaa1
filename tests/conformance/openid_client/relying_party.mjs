// A relying party made of npm's openid-client: `node relying_party.mjs SCENARIO`. It says where the person must go
// ({"url": ...}, and "request" for the object that must stand at its request_uri), is told where they arrived
// ({"url": ..., "form": ...}), and says what it found ({"found": ...}).
import { createInterface } from "node:readline";
import * as oidc from "openid-client";
import { exportJWK, generateKeyPair } from "jose";

const scenario = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => console.log(JSON.stringify(line));
const hear = async () => JSON.parse((await lines.next()).value);

const keys = await generateKeyPair("RS256", { extractable: true });
const toMe = scenario.encrypted ?? "RSA-OAEP-256";
const forMe = await generateKeyPair(toMe, { extractable: true });
const jwks = {
  keys: [
    { ...(await exportJWK(keys.publicKey)), kid: "sig", use: "sig", alg: "RS256" },
    { ...(await exportJWK(forMe.publicKey)), kid: "enc", use: "enc", alg: toMe },
  ],
};
const own = { key: keys.privateKey, kid: "sig" };
const proof = {
  none: () => oidc.None(),
  client_secret_basic: () => oidc.ClientSecretBasic(),
  client_secret_post: () => oidc.ClientSecretPost(),
  client_secret_jwt: () => oidc.ClientSecretJwt(),
  private_key_jwt: () => oidc.PrivateKeyJwt(own),
}[scenario.metadata.token_endpoint_auth_method]();

const options = { execute: [oidc.allowInsecureRequests] };
const server = new URL(scenario.issuer);
const config = scenario.client_id
  ? await oidc.discovery(server, scenario.client_id, scenario.metadata, proof, options)
  : await oidc.dynamicClientRegistration(server, { ...scenario.metadata, jwks }, proof, options);
if (scenario.signed_userinfo) oidc.enableNonRepudiationChecks(config);
if (scenario.encrypted) oidc.enableDecryptingResponses(config, ["A256GCM"], { key: forMe.privateKey, alg: toMe, kid: "enc" });
if (scenario.response_type === "code id_token") oidc.useCodeIdTokenResponseType(config);
if (scenario.response_type === "id_token") oidc.useIdTokenResponseType(config);

async function signIn() {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [oidc.randomState(), oidc.randomNonce()];
  const parameters = {
    redirect_uri: scenario.metadata.redirect_uris[0],
    scope: "openid profile offline_access",
    state: expectedState,
    nonce: expectedNonce,
    prompt: "consent",
    max_age: "600",
    ...scenario.parameters,
  };
  if (scenario.response_type !== "id_token") {
    parameters.code_challenge = await oidc.calculatePKCECodeChallenge(pkceCodeVerifier);
    parameters.code_challenge_method = "S256";
  }
  const withObject = scenario.request_object || scenario.request_uri;
  let url = await (withObject ? oidc.buildAuthorizationUrlWithJAR(config, parameters, own) : oidc.buildAuthorizationUrl(config, parameters));
  const request = url.searchParams.get("request");
  if (scenario.request_uri) {
    const beside = { request_uri: scenario.request_uri, response_type: "code", scope: "openid" };
    url = oidc.buildAuthorizationUrl(config, beside);
  }
  say({ url: url.href, request });
  const arrived = await hear();
  const form = { method: "POST", body: new URLSearchParams(arrived.form), headers: { "Content-Type": "application/x-www-form-urlencoded" } };
  const current = arrived.form ? new Request(arrived.url, form) : new URL(arrived.url);
  if (scenario.response_type === "id_token") {
    return { claims: await oidc.implicitAuthentication(config, current, expectedNonce, { expectedState, maxAge: 600 }) };
  }
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 600, idTokenExpected: true };
  const tokens = await oidc.authorizationCodeGrant(config, current, checks);
  return { tokens, claims: tokens.claims() };
}

async function everything() {
  const { tokens, claims } = await signIn();
  if (!tokens) return { claims };
  const found = { claims, userinfo: await oidc.fetchUserInfo(config, tokens.access_token, claims.sub) };
  const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
  found.refreshed = refreshed.claims();
  if (scenario.metadata.token_endpoint_auth_method !== "none") {
    found.introspected = await oidc.tokenIntrospection(config, refreshed.access_token);
  }
  await oidc.tokenRevocation(config, refreshed.refresh_token);
  found.after = await oidc.refreshTokenGrant(config, refreshed.refresh_token).then(() => "refreshed", (error) => error.error);
  const leaving = { post_logout_redirect_uri: scenario.metadata.post_logout_redirect_uris[0], state: "bye" };
  const hint = scenario.encrypted ? {} : { id_token_hint: refreshed.id_token };
  say({ url: oidc.buildEndSessionUrl(config, { ...leaving, ...hint }).href });
  found.left = (await hear()).url;
  return found;
}

async function withoutAPerson() {
  const tokens = await oidc.clientCredentialsGrant(config, { scope: "api" });
  return { introspected: await oidc.tokenIntrospection(config, tokens.access_token) };
}

try {
  say({ found: await (scenario.client_id ? withoutAPerson() : everything()) });
} catch (error) {
  say({ failed: `${error.code ?? ""} ${error.message}: ${JSON.stringify(error.cause ?? error.error_description ?? null)}` });
}
process.exit(0);
