// Run an OpenID provider on this machine. Arguments: its port, and a file with its private keys as a JWK Set.
// It signs with the first key. It gives programs access tokens with the role of their client.

import { readFileSync } from 'node:fs';

import { Provider, errors } from 'oidc-provider';

const [port, keys] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const program = {
    client_secret: 'for-this-machine',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
};

const provider = new Provider(issuer, {
    clients: ['viewer', 'editor', 'admin', 'stranger'].map((role) => ({ ...program, client_id: role })),
    jwks: JSON.parse(readFileSync(keys, 'utf8')),
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo(_context, resource) {
                if (!resource.startsWith('urn:')) throw new errors.InvalidTarget();
                return {
                    scope: 'images:read images:write',
                    audience: resource,
                    accessTokenFormat: 'jwt',
                    jwt: { sign: { alg: 'RS256' } },
                };
            },
        },
    },
    ttl: { ClientCredentials: 300 },
    extraTokenClaims: (_context, token) => ({ roles: [token.clientId] }),
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
