#!/usr/bin/env perl

# docs/auth.md: if this fails, somebody who follows the guide does not get in, or
# does not see what it says; or a recipe lets in who should not be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw( make_path );
use File::Temp qw( tempdir );

use Fanout::Certs;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;


my $text = Fanout::Nginx::slurp("$FindBin::Bin/../docs/auth.md");
my $dir  = tempdir('fanout-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chmod 0755, $dir;

my $certs = Fanout::Certs->make($dir);
my @blocks;

while ($text =~ /^(?:## ([^\n]*)|```([^\n]*)\n(.*?)^```)$/gms) {
    if (defined $1) {
        push @blocks, { section => $1 };
    } else {
        push @blocks, { section => $blocks[-1]{section}, info => $2,
                        body => $3 };
    }
}

@blocks = grep { defined $_->{info} } @blocks;


sub blocks_of {
    my ($section, $info) = @_;

    my @found = map { $_->{body} }
                grep { $_->{section} eq $section && $_->{info} eq $info }
                @blocks;

    @found or die "docs/auth.md has no $info in \"$section\"\n";

    return @found;
}


# "…" stands for anything

sub matches {
    my ($got, $want, $name) = @_;

    my $pattern = join '.*?', map { quotemeta } split /…\n?/, $want, -1;

    $got =~ s/\r//g;
    like($got, qr/\A$pattern\Z/s, $name);
}


sub bash {
    my ($script) = @_;

    my ($major) = `node --version` =~ /(\d+)/;
    my $path = "$dir/script";

    local $ENV{NODE_OPTIONS} = $major < 22
        ? '--experimental-websocket --no-warnings' : '';

    $certs->write('script', "cd $dir\n$script");

    return scalar `bash $path 2>&1`;
}


make_path("$dir/pages");

# the guide: files are written, what is to be run is run

for my $block (@blocks) {
    my ($name) = $block->{info} =~ /^\w+ (\w+\.\w+|fetch-keys)$/ or next;

    $certs->write($name =~ /html/ ? "pages/$name" : $name, $block->{body});
}

my ($make_key) = blocks_of('A token in ten minutes', 'sh auth');

unlink "$dir/public.pem";
bash($make_key);
ok(-s "$dir/public.pem", 'a key');

my ($conf) = blocks_of('A token in ten minutes', 'nginx complete');

$conf = $certs->placed($conf);
$conf =~ s{\broot /srv/realtime;}{root $dir/pages;} or die 'no pages';

my $nginx = Fanout::Nginx->start(conf => runnable($conf), dir => $dir,
                                 workers => 1);
my $here  = '127.0.0.1:' . $nginx->port;

$certs->write('client.mjs', Fanout::Certs::slurp("$dir/client.mjs")
                            =~ s/127\.0\.0\.1:8080/$here/r);

subtest 'the guide' => sub {
    my ($script, @want) = '';

    for my $i (0 .. $#blocks) {
        my $block = $blocks[$i];

        next if $block->{info} ne 'sh auth' || $block->{body} eq $make_key;

        $script .= "echo '--- next'\n"
                   . $block->{body} =~ s/127\.0\.0\.1:8080/$here/gr;
        push @want, [ split(/\n/, $block->{body}),
                      $blocks[$i + 1]{info} eq 'text' ? $blocks[$i + 1]{body}
                                                      : undef ];
    }

    my (undef, @got) = split /^--- next\n/m, bash($script);

    is(scalar @got, scalar @want, 'each command answers');

    for my $i (0 .. $#want) {
        my $name = $want[$i][0];

        matches($got[$i], $want[$i][-1], $name) if defined $want[$i][-1];
        next if $name !~ /^echo/;

        my $tabs = Fanout::Tabs->start;

        $tabs->open('ann', $got[$i] =~ s/\n//r);
        ok($tabs->wait('ann', '#log', '"data":"hi"'), 'a page');
        ok($tabs->wait('ann', '#log', '"user":"ann"'), 'of ann');

        $tabs->open('eve', "http://$here/#x.y.z");
        ok($tabs->wait('eve', '#log', 'closed: 1006'),
           'with a wrong token: 1006, as the page says');
    }

    cmp_ok(scalar @want, '>=', 8, 'there were commands');

    my $private = $nginx->http->get('/../private.pem');
    is($private->{status}, 400, 'the private key is not served');
    is($nginx->http->get($_)->{status}, 404, $_)
        for '/private.pem', '/token.mjs', '/nginx.conf';
};


subtest 'the token as the first command' => sub {
    my ($location) = blocks_of('The token as the first command', 'nginx server');
    my $whole = $conf;

    # sooner than what the browser waits for

    $location =~ s/from=command/from=command wait=3s/ or die;
    $whole =~ s/(?=\n        location = \/realtime)/\n$location/ or die;

    my $nginx = Fanout::Nginx->start(conf => runnable($certs->placed($whole)),
                                     workers => 1);
    my $page  = 'http://127.0.0.1:' . $nginx->port . '/first.html';
    my $token = bash('node token.mjs ann 7') =~ s/\n//r;
    my $tabs  = Fanout::Tabs->start;

    $tabs->open('ann', "$page#$token");
    ok($tabs->wait('ann', '#log', '"data":"hi"'), 'a page');
    ok($tabs->wait('ann', '#log', '"user":"ann"'), 'of ann');

    $tabs->open('eve', "$page#x.y.z");
    ok($tabs->wait('eve', '#log', '{"id":1,"error":{"code":"unauthorized"'),
       'with a wrong token: why');
    ok($tabs->wait('eve', '#log', '{"id":3,"error":{"code":"unauthorized"'),
       'and nothing else');
    ok($tabs->wait('eve', '#log', 'closed: 4401 no token'), 'then the end');
};


subtest 'tokens for single channels' => sub {
    my ($location) = blocks_of('Tokens for single channels', 'nginx server');
    my $whole = $conf;

    $whole =~ s/(?=\n        location = \/realtime)/\n$location/ or die;

    my $nginx = Fanout::Nginx->start(conf => runnable($certs->placed($whole)),
                                     workers => 1);
    my $token = bash('node token.mjs ann 7') =~ s/\n//r;
    my $for = sub {
        return bash("sed 's/^    sub, room,/    sub, channel: room,/' token.mjs > channel.mjs"
                    . " && node channel.mjs $_[0] room:8") =~ s/\n//r;
    };

    my $ann = $nginx->native(path => '/private', token => $token);
    my $try = sub { $ann->cmd('join', channel => 'room:8', @_)->{error}{code} // 'ok' };

    is($try->(), 'forbidden', 'no room without one');
    is($try->(token => $for->('eve')), 'forbidden', 'nor with that of another user');
    is($try->(token => $token), 'unauthorized', 'nor with that of the session');
    is($try->(token => $for->('ann')), 'ok', 'but with its own');
};


# what providers publish, in their own form

sub jwk {
    my ($key, %more) = @_;

    my $json = bash("node -e 'console.log(JSON.stringify(require(\"crypto\")"
                    . ".createPublicKey(require(\"fs\").readFileSync(\"$key->{pem}\"))"
                    . ".export({format:\"jwk\"})))'");

    return { %{ Fanout::JSON::decode($json) }, %more };
}

my $rsa   = Fanout::JWT::key_pair('RS256', $dir);
my $enc   = Fanout::JWT::key_pair('RS256', $dir);
my $ec    = Fanout::JWT::key_pair('ES256', $dir);
my $other = Fanout::JWT::key_pair('RS256', $dir);

my %provider = (
    Auth0 => {
        alg  => 'RS256', key => $rsa,
        keys => [ jwk($rsa, use => 'sig', kid => 'k', alg => 'RS256',
                      x5t => 'AAAA', x5c => [ 'AAAA' ]) ],
        names => { TENANT => 'example.eu.auth0.com' },
        aud  => 'https://api.example.com',
        with => { aud => [ 'https://api.example.com',
                           'https://example.eu.auth0.com/userinfo' ],
                  sub => 'auth0|507f', azp => 'x', scope => 'openid' },
        bad  => [ { iss => 'https://example.eu.auth0.com' },
                  { aud => 'https://example.eu.auth0.com/userinfo' } ],
    },
    Keycloak => {
        alg  => 'RS256', key => $rsa,
        keys => [ jwk($enc, use => 'enc', kid => 'e', alg => 'RSA-OAEP',
                      x5c => [ 'AAAA' ], 'x5t#S256' => 'AAAA'),
                  jwk($rsa, use => 'sig', kid => 'k', alg => 'RS256',
                      x5c => [ 'AAAA' ], 'x5t#S256' => 'AAAA') ],
        names => { HOST => 'id.example.com', REALM => 'main' },
        aud  => 'realtime-api',
        with => { aud => [ 'realtime-api', 'account' ], typ => 'Bearer',
                  sub => 'f:1:ann', azp => 'web',
                  realm_access => { roles => [ 'user' ] } },
        bad  => [ { aud => 'account' },
                  { iss => 'https://id.example.com/realms/other' } ],
    },
    Supabase => {
        alg  => 'ES256', key => $ec,
        keys => [ jwk($ec, kid => 'k', alg => 'ES256', ext => \1,
                      key_ops => [ 'verify' ]) ],
        names => { PROJECT => 'abcdef' },
        aud  => 'authenticated',
        with => { aud => 'authenticated', role => 'authenticated',
                  sub => '5f0c6a3b-9d2e-4f81-8000-000000000000',
                  app_metadata => { provider => 'email' } },
        bad  => [ { iss => 'supabase' }, { aud => undef }, { aud => 'anon' } ],
    },
    Firebase => {
        alg  => 'RS256', key => $rsa,
        keys => [ jwk($other, use => 'sig', kid => 'o', alg => 'RS256'),
                  jwk($rsa, use => 'sig', kid => 'k', alg => 'RS256') ],
        names => { PROJECT => 'my-app' },
        aud  => 'my-app',
        with => { aud => 'my-app', sub => 'u1', user_id => 'u1',
                  firebase => { sign_in_provider => 'password' } },
        bad  => [ { aud => 'evil-app' },
                  { iss => 'https://securetoken.google.com/evil-app' } ],
    },
);


subtest 'identity providers' => sub {
    my ($block) = blocks_of('Identity providers', 'nginx server');
    my %row = map { my @cell = split / *\| */, $_; ($cell[1] => \@cell) }
              $text =~ /^(\| (?:Auth0|Keycloak|Supabase|Firebase) .*)$/mg;

    is(join(' ', sort keys %row), join(' ', sort keys %provider), 'the table');

    my $server = '';

    for my $name (sort keys %row) {
        my $p = $provider{$name};
        my (undef, undef, $url, $issuer, $audience, $algorithms) =
            map { s/`//gr } @{ $row{$name} };

        s/\b(TENANT|HOST|REALM|PROJECT)\b/$p->{names}{$1}/g
            for $url, $issuer, $audience;
        like($url, qr{^https://[\w.-]+/\S+$}, "$name: a URL");

        $audience = $p->{aud} if $audience =~ / /;
        is($audience, $p->{aud}, "$name: the audience");

        $certs->write("keys/$name.json",
                      Fanout::JSON::encode({ keys => $p->{keys} }));
        $p->{iss} = $issuer;

        my $one = $certs->placed($block);

        $one =~ s{/keys/provider\.json}{/keys/$name.json} or die 'no jwks=';
        $one =~ s/issuer=\S+/issuer=$issuer/ or die 'no issuer=';
        $one =~ s/audience=\S+/audience=$audience/ or die 'no audience=';
        $one =~ s/algorithms=[^;]+/algorithms=$algorithms/ or die 'none';
        $one =~ s{location = /realtime}{location = /$name} or die 'none';
        $server .= $one;
    }

    my $nginx = Fanout::Nginx->start(
        http => 'fanout_zone app 8m; fanout_channel app *;',
        server => $server);

    for my $name (sort keys %provider) {
        my $p = $provider{$name};
        my %good = (iss => $p->{iss}, %{ $p->{with} });
        my $try = sub {
            my ($alg, $key, $claims, @header) = @_;

            my $ws = $nginx->ws(path => "/$name", expect => undef, headers => {
                Authorization => 'Bearer '
                    . Fanout::JWT::sign($alg, $key, $claims, @header) });
            my $status = $ws->status;

            $ws->cut;

            return $status;
        };

        my $ann = $nginx->native(path => "/$name", headers => {
            Authorization => 'Bearer '
                . Fanout::JWT::sign($p->{alg}, $p->{key}, \%good, kid => 'k') });

        is($ann->welcome->{user}, $good{sub}, "$name: its user");
        ok($ann->ok('join', channel => "user/$good{sub}"), 'has a channel');
        is($ann->cmd('join', channel => 'user/else')->{error}{code},
           'forbidden', 'of its own');

        for my $bad (@{ $p->{bad} }) {
            my %claims = (%good, %$bad);

            delete $claims{$_} for grep { !defined $claims{$_} } keys %claims;
            is($try->($p->{alg}, $p->{key}, \%claims, kid => 'k'), 401,
               "$name: not with " . Fanout::JSON::encode($bad));
        }

        is($try->('RS256', $other, \%good, kid => 'k'), 401, 'another key');
        is($try->('RS256', $enc, \%good, kid => 'e'), 401,
           'nor one for encryption');
        is($try->('HS256', Fanout::Certs::slurp($p->{key}{pem}), \%good,
                  kid => 'k'), 401, 'the public key is no secret');
    }
};


subtest 'keys that change' => sub {
    my $nginx = Fanout::Nginx->start(module => '', server => <<"END");
        location / { root $dir/keys; }
        location /html { default_type text/html; return 200 "<html>"; }
        location /none { return 200 '{"keys":[]}'; }
        location /half { return 200 '{"keys":[{"kty":'; }
        location /error { return 503; }
END
    my $script = Fanout::Certs::slurp("$dir/fetch-keys");

    $script =~ s/--proto =https/--proto =http/ or die 'no https';
    $certs->write('fetch-keys', $script);

    my $fetch = sub {
        return bash("sh ./fetch-keys http://127.0.0.1:" . $nginx->port
                    . "$_[0] $dir/got.json; echo status \$?");
    };

    like($fetch->('/Auth0.json'), qr/status 0/, 'a set');
    is(Fanout::Certs::slurp("$dir/got.json"),
       Fanout::Certs::slurp("$dir/keys/Auth0.json"), 'is in place');
    is(sprintf('%o', (stat "$dir/got.json")[2] & 0777), '644',
       'for workers to read');

    for my $path (qw( /html /none /half /error /404 )) {
        like($fetch->($path), qr/status [1-9]/, "$path fails");
        is(Fanout::Certs::slurp("$dir/got.json"),
           Fanout::Certs::slurp("$dir/keys/Auth0.json"), 'the old keys stay');
    }
};


# an application, or oauth2-proxy, that knows a cookie

for my $recipe ([ 'Session cookies', '3000', '/session', 204, 'X-User' ],
                [ 'oauth2-proxy', '4180', '/oauth2/auth', 202,
                  'X-Auth-Request-Email' ])
{
    my ($section, $port, $path, $status, $header) = @$recipe;

    subtest $section => sub {
        my $app = Fanout::Nginx->start(module => '', server => <<"END");
            location = $path {
                if (\$cookie_s !~ ^s-(?<who>\\w+)\$) { return 401; }
                add_header $header \$who always;
                return $status;
            }
            location / { return 200 "sign in"; }
END
        my ($server) = blocks_of($section, 'nginx server');

        $server =~ s/127\.0\.0\.1:$port/'127.0.0.1:' . $app->port/ge or die;

        my $nginx = Fanout::Nginx->start(
            http => 'fanout_zone app 8m; fanout_channel app *;',
            server => $server);
        my $host = '127.0.0.1:' . $nginx->port;
        my $come = sub {
            my ($cookie, %headers) = @_;

            return $nginx->native(path => '/realtime', expect => undef,
                welcome => 0, headers => {
                    Host => $host, Origin => "http://$host",
                    defined $cookie ? (Cookie => "s=$cookie") : (),
                    %headers });
        };

        my $ann = $come->('s-ann');

        is($ann->status, 101, 'who has signed in');
        is($ann->next_push->{welcome}{user}, 'ann', 'is known');
        is($come->(undef)->status, 401, 'nobody else');
        is($come->('x', $header => 'eve')->status, 401,
           'nor who says so itself');
        is($come->('s-ann', $header => 'eve')->next_push->{welcome}{user},
           'ann', 'or says to be another');
        is($come->('s-ann', Origin => 'https://evil.test')->status, 403,
           'nor a page of others');

        my $r = $nginx->http->get($path, headers => { Cookie => 's=s-ann' });
        isnt($r->{status}, $status, 'strangers can\'t ask');
    };
}


subtest 'client certificates' => sub {
    my ($http) = blocks_of('Client certificates', 'nginx http');

    $http =~ s/listen 8443 ssl;/listen 127.0.0.1:%%PORT%% ssl;/ or die;

    my $nginx = Fanout::Nginx->start(
        conf => runnable("load_module x;\nevents { }\nhttp {\n"
                         . $certs->placed($http) . "\n}\n"),
        workers => 1);

    my $come = sub {
        my ($name) = @_;

        my $cert = $name ? "--cert $dir/$name.pem --key $dir/$name.key" : '';
        my $url  = 'https://127.0.0.1:' . $nginx->port . '/realtime?poll=1'
                   . '&session=1&timeout=0&channel=device/dev-1';

        return bash("curl -sk $cert -H 'X-Requested-With: x' '$url'");
    };

    like($come->('device'), qr/"user":"dev-1"/, 'a device has its name');
    like($come->(''), qr/400 Bad Request/, 'no certificate');
    like($come->('stranger'), qr/400 Bad Request/, 'one of another CA');
    like($come->('revoked'), qr/400 Bad Request/, 'a revoked one');
};
