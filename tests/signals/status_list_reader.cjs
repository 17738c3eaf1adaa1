// Reads status lists with npm @sd-jwt/jwt-status-list: for each line of standard input, `TOKEN LIST`, one JSON line.
const { getListFromStatusListJWT, getStatusListFromJWT } = require("@sd-jwt/jwt-status-list");
const lines = require("node:readline").createInterface({ input: process.stdin });

lines.on("line", (line) => {
  const [token, list] = line.split(" ");
  const { idx, uri } = getStatusListFromJWT(token);
  console.log(JSON.stringify({ uri, idx, status: getListFromStatusListJWT(list).getStatus(idx) }));
});
