#!/usr/bin/env perl

# Tokens of clients (fanout_jwt). If this fails, somebody gets in without one, or
# as somebody else, or stays when it has expired; or a token is in a log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();

use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Stream;


my $secret = 'a secret that only the backend knows';
my $dir    = File::Temp->newdir;
my ($one, $two, $three) =
    map { Fanout::JWT::key_pair('RS256', $dir) } 1 .. 3;
my $ec     = Fanout::JWT::key_pair('ES256', $dir);

chmod 0755, $dir;

sub write_file {
    my ($name, $text) = @_;

    open my $f, '>', "$dir/$name.new" or die $!;
    print $f $text;
    close $f;
    rename "$dir/$name.new", "$dir/$name" or die $!;
}

write_file('keys.json', Fanout::JWT::jwks(k1 => $one, k2 => $two));
write_file('secret', "$secret\n");

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10 presence=on;
        fanout_jwt_claim $team https://example.com/claims team;
        fanout_jwt_claim $camel userId;
        log_format query '$request $args $request_uri $http_authorization';
        fanout_resume 1m;
END
    server => join('', <<'END', "fanout_jwt 'secret=$secret'", <<'END', <<"END", <<'END'),
        access_log %%DIR%%/access.log;
        location /rt {
            fanout app;
END
            from=header from=subprotocol from=cookie:tok from=query:token
            leeway=0;
            fanout_user   $fanout_claim_sub;
            fanout_user_info name=$fanout_claim_name team=$team;
            fanout_permit all "$fanout_claim_room";
            fanout_permit join open;
            location /rt/camel { fanout app; fanout_user $camel;
                                 fanout_permit all *; }
        }
END
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_jwt secret_file=$dir/secret leeway=0;
            fanout_user \$fanout_claim_sub;
            fanout_permit all *;
        }
        location /rules {
            fanout app;
            fanout_jwt  secret_file=$dir/secret issuer=https://id.test
                        audience=app audience=other size=1k
                        algorithms=HS256 leeway=60s;
            fanout_user \$fanout_claim_sub;
            fanout_permit all *;
        }
        location /keys {
            fanout app;
            fanout_jwt  jwks=$dir/keys.json key=$ec->{pem} from=header:X-Token;
            fanout_user \$fanout_claim_sub;
            fanout_permit all *;
        }
        location /guests {
            fanout app;
            fanout_jwt  secret_file=$dir/secret token=optional
                        expires=optional;
            fanout_user \$fanout_claim_sub;
            fanout_permit all *;
        }
        location /proxied {
            fanout_jwt secret_file=$dir/secret from=header;
            add_header X-User "\$fanout_claim_sub";
            add_header X-List "\$fanout_claim_list";
            return 204;
        }
END
        location /few {
            fanout app;
            fanout_jwt secret=0123456789abcdef;
            fanout_user $fanout_claim_sub;
            fanout_permit all *;
            fanout_budget address sessions=1/s burst=30s;
        }
        location /limited {
            fanout app;
            fanout_jwt secret=0123456789abcdef from=query:token;
            fanout_user $fanout_claim_sub;
            deny all;
        }
        location /fanout/ { fanout_api app; }
END
);

my $http = $nginx->http;


sub token { return Fanout::JWT::sign('HS256', $secret, @_) }

# what "nginx -t" says of a server

sub config_says {
    my ($server, $http) = (@_, '');

    my $load = length Fanout::Nginx::module({})
               ? 'load_module ' . Fanout::Nginx::module({}) . ';' : '';

    open my $f, '>', "$dir/test.conf" or die "test.conf: $!";
    print $f "$load\npid $dir/pid; events { }\n"
             . "http { access_log off; fanout_zone app 8m; $http\n"
             . "server { $server } }\n";
    close $f;

    return qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/log 2>&1};
}

sub bearer { return { Authorization => "Bearer $_[0]" } }

sub status {
    my ($path, %o) = @_;

    my $ws = $nginx->ws(path => $path, expect => undef, %o);
    my $status = $ws->status;

    $ws->cut;

    return $status;
}


subtest 'every transport, every place' => sub {
    my $t = token({ sub => 'ann', room => 'a' });

    for ([ 'a header', path => '/rt', headers => bearer($t) ],
         [ 'a cookie', path => '/rt', headers => { Cookie => "x=1; tok=$t" } ],
         [ 'the query', path => "/rt?token=$t" ],
         [ 'a subprotocol', path => '/rt',
           subprotocols => [ 'fanout.v1', "fanout.token.$t" ] ])
    {
        my ($name, %o) = @$_;
        my $ann = $nginx->native(%o);

        is($ann->welcome->{user}, 'ann', $name);
        ok($ann->ok('publish', channel => 'a', data => 1), 'may publish');
        is($ann->cmd('publish', channel => 'b', data => 1)->{error}{code},
           'forbidden', 'where the claim says');
        $ann->cut;
    }

    my $sse = Fanout::Stream->new($nginx, '/rt', channels => ['a'],
                                  headers => bearer($t));
    is($sse->response->{status}, 200, 'an event stream');
    $sse->cut;

    my $json = { 'Content-Type' => 'application/json', %{ bearer($t) } };
    my $command = '{"id":1,"op":"publish","channel":"a","data":2}';

    is($http->get('/rt?poll=1&channel=a&history=1', headers => bearer($t))
            ->{status}, 200, 'a poll');
    ok($http->post('/rt', $command, headers => $json)->json->{ok}, 'POST');

    delete $json->{Authorization};

    for ([ GET => '/rt?channel=a' ], [ GET => '/rt?channel=a&poll=1' ],
         [ POST => '/rt', body => $command ])
    {
        my ($method, $path, %o) = @$_;
        my $r = $http->request($method, $path, headers => $json, %o);

        is($r->{status}, 401, "$method $path without one");
        is($r->json->{error}{code}, 'unauthorized', 'says so');
        is($r->{headers}{'www-authenticate'}, 'Bearer', 'and what it wants');
    }

    is(status('/rt'), 401, 'WebSocket without one');
};


subtest 'what no token may be' => sub {
    my $now = CORE::time();
    my $none = Fanout::JWT::base64url('{"alg":"none"}') . '.'
               . Fanout::JWT::base64url('{"sub":"eve"}') . '.';

    for ([ 'another secret', Fanout::JWT::sign('HS256', 'x' x 32, {}) ],
         [ 'no signature', $none ],
         [ 'expired', token({ exp => $now - 5 }) ],
         [ 'without an end', token({ exp => undef }) ],
         [ 'not yet', token({ nbf => $now + 60 }) ],
         [ 'an algorithm that the key has not', token({}, alg => 'RS256') ],
         [ 'critical', token({}, crit => ['b64'], b64 => \1) ],
         [ 'no claims', token('[]') ],
         [ 'no JSON', token('{"exp":') ],
         [ 'a sub that is there twice',
           token(sprintf '{"exp":%u,"sub":"a","sub":"b"}', $now + 60) ],
         [ 'nothing', '' ], [ 'words', 'a token' ], [ 'dots', '..' ],
         [ 'many letters', 'e' x 7000 ])
    {
        my ($name, $t) = @$_;
        my $r = $http->get('/rt?channel=open', headers => bearer($t));

        is($r->{status}, 401, $name);
        is($r->{headers}{'www-authenticate'}, 'Bearer error="invalid_token"',
           'is told') if length $t;
    }

    my $two = Fanout::JWT::sign('ES256', $ec, {});

    is(status('/keys', headers => [ map { [ 'X-Token' => $two ] } 1, 2 ]), 401,
       'two headers');
};


subtest 'many that are not valid' => sub {
    my ($pid) = $nginx->worker_pids;
    my $few   = $nginx->http(worker => $pid);
    my $path  = '/few?poll=1&channel=a&timeout=0&history=1';
    my $good  = Fanout::JWT::sign('HS256', '0123456789abcdef', {});
    my @wrong = map { $few->get($path, headers => bearer(token({ n => $_ })))
                          ->{status} } 1 .. 4;

    is_deeply(\@wrong, [ (401) x 4 ], 'are refused');

    is($few->get($path)->{status}, 401, 'a request without one costs nothing');

    my $r = $few->get($path, headers => bearer($good));

    is($r->{status}, 429, 'then none is verified, not even a valid one');
    is($r->json->{error}{code}, 'rate_limited', 'which is told');
    like($r->json->{error}{message}, qr/fanout_budget/, 'with the directive');
    cmp_ok($r->{headers}{'retry-after'}, '>', 0, 'and when to come back');
    is(status('/few', headers => bearer($good), worker => $pid), 429,
       'a WebSocket');
    is($few->get('/rt?poll=1&channel=a&timeout=0&history=1', headers =>
                 bearer(token({ sub => 'ann', room => 'a' })))->{status}, 200,
       'other locations go on');
    ok(wait_for(sub {
           $few->get($path, headers => bearer($good))->{status} == 200
       }, 30), 'after a while it is');
};


subtest 'issuer, audience, size, algorithms, leeway' => sub {
    my $now  = CORE::time();
    my %good = (iss => 'https://id.test', aud => 'app', sub => 'ann');

    my $try = sub {
        return $http->get('/rules?channel=a&poll=1&history=1&timeout=0',
                          headers => bearer(token({ %good, @_ })))->{status};
    };

    is($try->(), 200, 'as they have to be');
    is($try->(iss => 'https://id.test/'), 401, 'another issuer');
    is($try->(iss => undef), 401, 'none');
    is($try->(aud => 'else'), 401, 'another audience');
    is($try->(aud => [ 'else', 'other' ]), 200, 'one of several');
    is($try->(aud => []), 401, 'none of them');
    is($try->(exp => $now - 20), 200, 'within the leeway');
    is($try->(exp => $now - 100), 401, 'beyond');
    is($try->(fill => 'x' x 1100), 401, 'too large');
};


subtest 'keys of a set, and of a file that changes' => sub {
    my $worker;
    my $try = sub {
        my ($alg, $key, @header) = @_;

        return status('/keys', headers => { 'X-Token' =>
            Fanout::JWT::sign($alg, $key, { sub => 'ann' }, @header) },
            defined $worker ? (worker => $worker) : ());
    };

    is($try->('RS256', $one, kid => 'k1'), 101, 'the first');
    is($try->('RS256', $two, kid => 'k2'), 101, 'the second');
    is($try->('RS256', $two, kid => 'k1'), 401, 'with the name of another');
    is($try->('RS256', $two), 101, 'without a name');
    is($try->('ES256', $ec), 101, 'of a PEM file');
    is($try->('RS256', $three, kid => 'k3'), 401, 'unknown');

    open my $f, '<', $one->{pem} or die $!;
    my $pem = do { local $/; <$f> };

    is($try->('HS256', $pem), 401, 'the public key as a secret');

    write_file('keys.json', Fanout::JWT::jwks(k3 => $three));

    for my $pid ($nginx->worker_pids) {
        $worker = $pid;
        ok(wait_for(sub { $try->('RS256', $three, kid => 'k3') == 101 }),
           'a new key');
        is($try->('RS256', $one, kid => 'k1'), 401, 'the old one is gone');
    }

    undef $worker;

    $nginx->allow(qr/goes on with the keys that it has/);
    write_file('keys.json', '{"keys":[');
    ok(wait_for(sub {
        $try->('RS256', $three, kid => 'k3');
        return $nginx->log_like(qr/goes on with the keys that it has/);
    }), 'a broken file is told');
    is($try->('RS256', $three, kid => 'k3'), 101, 'and changes nothing');

};


subtest 'a file that can\'t be opened for a while' => sub {
    write_file('few.json', Fanout::JWT::jwks(k1 => $one));

    my $full = qr/can't be opened: Too many open files/;
    my $few = Fanout::Nginx->start(
        workers => 1,
        main    => 'worker_rlimit_nofile 100;',
        allow   => [ qr/accept4\(\) failed/, qr/socket\(\) failed/ ],
        http    => 'fanout_zone app 8m; fanout_channel app *;',
        server  => <<"END",
            location /rt {
                fanout app;
                fanout_jwt  jwks=$dir/few.json;
                fanout_user \$fanout_claim_sub;
                fanout_permit all *;
            }
END
    );

    my $kept = $few->http;
    my $ask  = sub {
        return $kept->get('/rt?channel=a&poll=1&history=1&timeout=0',
            headers => bearer(Fanout::JWT::sign('RS256', $_[0], {},
                                                kid => $_[1])))->{status};
    };

    is($ask->($one, 'k1'), 200, 'a key');

    my @idle;

    for (1 .. 120) {
        my $client = $few->http;

        $client->connection;
        push @idle, $client;
    }

    ok(wait_for(sub { $few->log_like(qr/accept4\(\) failed/) }),
       'the worker can open nothing');

    write_file('few.json', Fanout::JWT::jwks(k2 => $two));
    ok(wait_for(sub {
        $ask->($one, 'k1');
        return $few->log_like($full);
    }), 'which is told');
    is($ask->($one, 'k1'), 200, 'the old key counts');

    $_->disconnect for @idle;
    ok(wait_for(sub { $ask->($two, 'k2') == 200 }), 'until it can');
    is($few->log_like($full), 1, 'told once');
};


subtest 'claims as variables' => sub {
    my $t = token({ sub => 'ann', name => 'Ann "A"', room => 'a', list => [ 1, 'x' ],
                    'https://example.com/claims' => { team => 'red' },
                    userId => 'u7' });

    my $ann = $nginx->native(path => '/rt', headers => bearer($t));

    is_deeply($ann->ok('join', channel => 'a', presence => {},
                       want => ['presence'])->{members}[0]{info},
              { name => 'Ann "A"', team => 'red' }, 'strings, also nested');

    is($nginx->native(path => '/rt/camel', headers => bearer($t))
             ->welcome->{user}, 'u7', 'a name with capitals');

    my $r = $http->get('/proxied', headers => bearer($t));

    is($r->{headers}{'x-user'}, 'ann', 'in a location without fanout');
    is($r->{headers}{'x-list'}, '[1,"x"]', 'an array is JSON');

    $r = $http->get('/proxied', headers => bearer(
        token({ sub => "ann\r\nX-Evil: 1" })));
    is($r->{headers}{'x-user'}, undef, 'none that could end a header');
    is($r->{headers}{'x-evil'}, undef, 'none');

    $r = $http->get('/proxied', headers => bearer(
        Fanout::JWT::sign('HS256', 'x' x 32, { sub => 'eve' })));
    is($r->{headers}{'x-user'}, undef, 'none of a token that is not valid');
};


subtest 'guests' => sub {
    my $guest = $nginx->native(path => '/guests');

    is($guest->welcome->{user}, undef, 'may come without a token');
    is($nginx->native(path => '/guests', headers => bearer(
           token({ sub => 'ann', exp => undef })))->welcome->{user}, 'ann',
       'a token counts, and may have no end');
    is(status('/guests', headers => bearer('x.y.z')), 401,
       'but a bad one is refused');
};


subtest 'a session ends with its token' => sub {
    my $until = sub {
        bearer(token({ sub => 'ann', room => 'a',
                       exp => CORE::time() + $_[0] }));
    };

    my $ws = $nginx->native(path => '/rt', headers => $until->(6));
    my $sse = Fanout::Stream->new($nginx, '/rt', channels => ['a'],
                                  headers => $until->(6));
    my $long = $nginx->native(path => '/rt', headers => $until->(600));

    $ws->ok('join', channel => 'a');

    is($ws->wait_close(20), 4401, 'of a WebSocket');
    is($ws->close_reason, 'expired', 'which is told why');
    ok($sse->next_push(20)->{expiring}, 'an event stream is told before');
    is($sse->next_push(20)->{closing}{status}, 4401, 'and ends');
    ok($long->cmd('ping')->{ok}, 'not before');

    # what has begun in time must not go on after it

    my $now  = CORE::time();
    my $poll = $nginx->http;
    my $post = $nginx->http;
    my $raw  = $nginx->ws(path => '/raw?channel=a', headers => $until->(6));
    my $body = '{"id":1,"op":"publish","channel":"a","data":"late"}';
    my $bearer = $until->(6)->{Authorization};

    my $place  = $http->get('/rt?channel=a&poll=1&history=1',
                            headers => { Authorization => $bearer })
                      ->{headers}{'fanout-position'};

    $poll->connection->send_bytes($poll->format_request(GET =>
        "/rt?channel=a&poll=1&timeout=60&since=$place",
        headers => { Authorization => $bearer }));
    $post->connection->send_bytes(join "\r\n", 'POST /rt HTTP/1.1',
        'Host: x', "Authorization: $bearer",
        'Content-Type: application/json',
        'Content-Length: ' . length $body, '', substr $body, 0, 9);

    is($raw->wait_close(20), 4401, 'of the raw dialect');
    is($poll->read_response->{body}, "[]\n", 'a poll is answered');
    ok(wait_for(sub { CORE::time() > $now + 7 }), 'it has expired');

    my $r = $post->raw(substr $body, 9);

    is($r->{status}, 401, 'a POST whose body came too late');
    like($r->{body}, qr/the token has expired/, 'is told so');

    my $back = $nginx->native(path => '/rt', resume => $ws->resume,
                              headers => $until->(60));

    ok($back->welcome->{resumed}, 'it is resumed with a new token');

    my $eve = $nginx->native(path => '/rt', resume => $back->resume,
        headers => bearer(token({ sub => 'eve', room => 'a' })));

    ok(!$eve->welcome->{resumed}, 'not by another user');
};


subtest 'no token is in a log' => sub {
    my $good = token({ sub => 'log', room => 'a' });
    my $bad  = $good . 'x';

    is(status("/rt?token=$good&x=1"), 101, 'good');
    is(status("/rt?token=$bad"), 401, 'bad');
    is($http->get("/rt?token=$good&token=$bad&channel=a&poll=x")->{status}, 400,
       'a mistake elsewhere');
    is($http->request(PUT => "/rt?token=$good")->{status} >= 400, 1,
       'another method');
    is($http->get("/limited?token=$good")->{status}, 403, 'refused before');
    is($http->get("/rt?TOKEN=$good&token=&token=$good#x")->{status} >= 400, 1,
       'several');

    my ($sign) = $good =~ /([^.]+)\z/;

    open my $f, '<', $nginx->dir . '/access.log' or die $!;
    my $lines = do { local $/; <$f> };

    like($lines, qr{/rt\?token=\*+&x=1 }, 'the request is');
    unlike($lines, qr/\Q$sign\E/, 'not in the access log');
    unlike($nginx->log, qr/\Q$sign\E/, 'not in the error log');
};


subtest 'a claim with capitals is not looked for in vain' => sub {
    my $http   = 'fanout_jwt_claim $fanout_claim_isKnown isKnown;';
    my $in     = sub { config_says("location /x { fanout app; $_[0] }", $http) };
    my $advice = qr/"\$fanout_claim_userId" names no claim.*"fanout_jwt_claim \$variable userId"/;

    like($in->($_), $advice, $_)
        for 'fanout_user $fanout_claim_userId;',
            'fanout_user "u-${fanout_claim_userId}";',
            'fanout_user_info name=$fanout_claim_userId;',
            'fanout_permit all room:$fanout_claim_userId;',
            'fanout_permit all list:${fanout_claim_userId};',
            'fanout_autojoin room:$fanout_claim_userId;',
            'fanout_origin same scheme=$fanout_claim_userId;',
            'fanout_broadcast app $fanout_claim_userId;';

    unlike($in->($_), qr/names no claim/, $_)
        for 'fanout_user $Fanout_claim_sub;', 'fanout_user $fanout_claim_isKnown;',
            'fanout_user $fanout_claim_sub-$http_fanout_claim_X;',
            'fanout_permit all A$fanout_claim_sub:B;';
};


subtest 'mistakes in the configuration' => sub {
    write_file('short', "short\n");
    write_file('empty', '');
    write_file("rs.json", Fanout::JWT::jwks(k1 => $one));

    for ([ 'fanout_jwt', qr/invalid number of arguments/ ],
         [ 'fanout_jwt on', qr/unknown parameter "on" of/ ],
         [ 'fanout_jwt from=header', qr/has no key/ ],
         [ 'fanout_jwt secret=short', qr/invalid key.*"secret="/ ],
         [ "fanout_jwt secret_file=$dir/short", qr/invalid key.*short/ ],
         [ "fanout_jwt secret_file=$dir/none", qr/can't be opened: No such/ ],
         [ "fanout_jwt key=$dir", qr/not a file/ ],
         [ "fanout_jwt key=$dir/secret", qr/invalid key/ ],
         [ "fanout_jwt key=$one->{private}", qr/invalid key.*private/ ],
         [ "fanout_jwt jwks=$dir/empty", qr/invalid key/ ],
         [ "fanout_jwt secret=", qr/"secret=" is empty/ ],
         [ "fanout_jwt key=$ec->{pem} algorithms=RS256,HS256", qr/no key of "fanout_jwt"/ ],
         [ "fanout_jwt jwks=$dir/rs.json algorithms=ES256", qr/no key of "fanout_jwt"/ ],
         [ "fanout_jwt key=$ec->{pem} algorithms=RS256,ES256", qr/test is successful/ ],
         [ "fanout_dialect raw; fanout_jwt secret_file=$dir/secret channel=c",
           qr/"channel=" of "fanout_jwt" conflicts with "fanout_dialect raw"/ ],
         map [ "fanout_jwt secret_file=$dir/secret $_->[0]", $_->[1] ],
             [ 'size=8', qr/from 64 to 64k/ ],
             [ 'leeway=2h', qr/from 0 to 1h/ ],
             [ 'leeway=500ms', qr/whole seconds from 0/ ],
             [ 'algorithms=HS256,none', qr/HS512/ ],
             [ 'from=body', qr/"subprotocol" or "command" is needed/ ],
             [ 'from=query', qr/"query:name"/ ],
             [ 'from=subprotocol:x', qr/"subprotocol" or "command" is needed/ ],
             [ 'from=command:x', qr/or "command" is needed/ ],
             [ 'wait=99ms', qr/"wait=99ms".*from 100ms to 1h/ ],
             [ 'wait=forever', qr/from 100ms to 1h/ ],
             [ 'wait=1s wait=2s', qr/duplicate parameter "wait=2s"/ ],
             [ 'wait=1s', qr/"wait=" does nothing without "from=command"/ ],
             [ 'from=command token=optional',
               qr/"from=command" excludes "token=optional"/ ],
             [ 'from=command handshake=0',
               qr/"from=command" excludes "handshake=0"/ ],
             [ 'expires=no', qr/"required" or "optional"/ ],
             [ 'issuer=a issuer=b', qr/duplicate parameter "issuer=b"/ ],
             [ 'channel=a channel=b', qr/duplicate parameter "channel=b"/ ],
             [ 'channel=' . 'x' x 256, qr/the name of a claim has 255 bytes at most/ ],
             [ 'secert=a-secret', qr/unknown parameter "secert" of/ ])
    {
        my ($line, $message) = @$_;

        my $said = config_says("location /x { fanout app; fanout_user "
                                . "\$fanout_claim_sub; $line; }");

        like($said, $message, $line =~ s/\Q$dir\E/…/gr);
        unlike($said, qr/secret=short|a-secret/, 'no secret in it');
    }
};

done_testing();
