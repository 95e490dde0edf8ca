#!/usr/bin/env perl

# Who is shut out: users, clients, addresses and tokens. If this fails, somebody who
# is shut out is told what is published afterwards, sends commands, comes back, or
# leaves a member or a lock behind; or somebody else is shut out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::Elapsed qw( time );
use Fanout::JWT;
use Fanout::Nginx;


my $secret = 'a secret that only the backend knows';

my $nginx = Fanout::Nginx->start(
    workers => 3,
    http    => <<'END',
        fanout_zone app 16m;
        fanout_zone few 4m denials=3;
        fanout_channel app * history=1000 presence=on locks=1m linger=1m batch=10ms;
        fanout_resume 1m;
        fanout_rate off;
        set_real_ip_from 127.0.0.1;
        real_ip_header   X-Real;
END
    server => <<'END',
        fanout_permit all *;
        location /api  { fanout_api app; }
        location /few  { fanout_api few; }
        location = /status { fanout_status app; }
        location = /status-few { fanout_status few; }
        location /rt   { fanout app; fanout_user $arg_user; }
        location /raw  { fanout app; fanout_dialect raw; fanout_user $arg_user; }
        location /jwt  {
            fanout app;
            fanout_jwt  'secret=a secret that only the backend knows'
                        from=header from=subprotocol;
            fanout_user $fanout_claim_sub;
        }
        location /tries {
            fanout app;
            fanout_jwt    'secret=a secret that only the backend knows'
                          from=subprotocol;
            fanout_user   $fanout_claim_sub;
            fanout_budget address sessions=1/s burst=3s;
        }
END
);

my $http = $nginx->http;
my $n = 0;


sub token { return Fanout::JWT::sign('HS256', $secret, @_) }

sub ask {
    my ($method, $path, %o) = @_;

    return $http->request($method => "/api/$path", %o);
}

sub code { my $r = shift; return $r->json->{error}{code} // $r->{status} }

sub knock {
    my ($path, %o) = @_;

    return $nginx->ws(path => $path, expect => undef, %o, subprotocols => [
        'fanout.v1', $o{token} ? "fanout.token.$o{token}" : () ])->status;
}

sub publish { ask(POST => "channels/$_[0]/messages", body => $_[1]) }

sub came {
    my ($c) = @_;

    my @got;

    while (my $e = eval { $c->next_entry(3) }) {
        push @got, $e->{data};
    }

    return @got;
}

sub members {
    my $r = ask(GET => "channels/$_[0]/presence");

    return scalar @{ $r->json->{members} || [] };
}

# What a client is refused with: the status and the error

sub refused {
    my ($path, %o) = @_;

    my $ws = $nginx->ws(path => $path, expect => undef, subprotocols => [
        'fanout.v1', $o{token} ? "fanout.token.$o{token}" : (),
        $o{resume} ? "fanout.resume.$o{resume}" : () ]);
    my @more = ($o{token} ? [ Authorization => "Bearer $o{token}" ] : (),
                $o{resume} ? [ 'Fanout-Resume' => $o{resume} ] : ());
    my $join = $path . ($path =~ /\?/ ? '&' : '?') . 'channel=a';

    # the stream goes on: its status is all that is wanted

    my $sse = $nginx->http->start(GET => $join, headers => [
        @more, [ Accept => 'text/event-stream, */*' ] ]);
    my $poll = $nginx->http->request(GET => "$join&poll=1&timeout=1",
                                     headers => [ @more ]);
    my $post = $nginx->http->request(POST => $path, headers => [
        @more, [ 'Content-Type' => 'application/json' ] ],
        body => '{"op":"publish","channel":"a","data":1}');

    return join ' ', $ws->status, map { $_->{status} } $sse, $poll, $post;
}


# A publisher that never stops

my $publisher = fork // die;

if (!$publisher) {
    my $own = $nginx->http;
    my $i = 0;

    while (1) {
        eval { $own->post('/api/channels/flood/messages', '"f' . $i++ . '"'); 1 }
            or do { select undef, undef, undef, 0.05; $own = $nginx->http };
    }
}

END { kill KILL => $publisher if $publisher }


my %tries = (websocket => $ENV{CONTROL_TRIES} || 100, sse => 50, poll => 50);

for my $transport (Fanout::Client->transports) {
    subtest "nothing comes after the answer: $transport" => sub {
        my ($late, $alive, $not) = (0, 0, 0);

        for my $try (1 .. $tries{$transport}) {
            my $user = 'u' . $n++;
            my $c = Fanout::Client->open($nginx, $transport, '/rt', user => $user,
                        channels => ['flood'], session => 1);

            $alive++ if $c->next_entry(5);

            my $r = ask(PUT => "denials/user:$user?for=60");
            $not++ if $r->{status} != 200;
            publish('flood', '"mark"');

            $late += grep { $_ eq 'mark' } came($c);
        }

        is($alive, $tries{$transport}, 'all were told what is published');
        is($late, 0, 'none after its denial');
        is($not, 0, 'which is answered');
    };
}

kill KILL => $publisher;
waitpid $publisher, 0;
$publisher = 0;


subtest 'it is effective within 100 ms, and tells why' => sub {
    my %c = map { $_ => $nginx->native(path => '/rt?user=fast', worker => $_) }
            $nginx->worker_pids;

    my $t = time;
    ask(PUT => 'denials/user:fast?for=60');

    for my $pid (sort keys %c) {
        is($c{$pid}->wait_close(5), 4403, 'the code');
        is($c{$pid}->close_reason, 'blocked', 'the reason');
    }

    cmp_ok(time - $t, '<', 0.1 * $Fanout::Socket::SCALE, 'in all workers');
};


subtest 'others see it leave at once' => sub {
    my $c = $nginx->native(path => '/rt?user=gone');
    my $cut = $nginx->native(path => '/rt?user=gone');
    my $other = $nginx->native(path => '/rt?user=other');

    $_->ok('join', channel => 'room', presence => {}) for $cut, $c, $other;
    $c->ok('lock', channel => 'room', name => 'x');
    $cut->cut;
    Fanout::Nginx::wait_for(sub {
        grep { $_->{lingers} }
            @{ ask(GET => 'channels/room/presence')->json->{members} };
    }, 5);

    is(ask(PUT => 'denials/user:gone?for=60')->{status}, 200, 'denied');
    is($c->wait_close(5), 4403, 'closed');
    ok(Fanout::Nginx::wait_for(sub { members('room') == 1 }, 2),
       'no member is left, nor one that lingers');
    ok($other->ok('lock', channel => 'room', name => 'x'), 'its lock is free');
    is(refused('/rt?user=gone', resume => $c->resume), '403 403 403 403',
       'it cannot come back');

    my $r = $http->request(POST => '/rt?user=gone', headers => [
        [ 'Content-Type' => 'application/json' ] ], body => '{}');

    is($r->json->{error}{code}, 'blocked', 'the error');
    cmp_ok($r->{headers}{'retry-after'}, '<=', 61, 'and when it ends');
    cmp_ok($r->json->{error}{data}{retry_after}, '>', 50000, 'in ms');

    is(ask(DELETE => 'denials/user:gone')->{status}, 200, 'let in');
    is(knock('/rt?user=gone'), 101, 'it is');
};


# The worker of the client is stopped: it finds the command before the denial.

subtest 'nor is done what it had sent' => sub {
    my ($one, $two) = $nginx->worker_pids;
    my $c = $nginx->native(path => '/rt?user=sent', worker => $one);
    my $other = $nginx->http(worker => $two);

    $c->ok('publish', channel => 'sent', data => 1);

    kill STOP => $one;
    Fanout::Nginx::wait_for(sub { Fanout::Nginx::halted($one) }, 5);
    $c->send_cmd('publish', channel => 'sent', data => 2);
    my $status = $other->request(PUT => '/api/denials/user:sent?for=60')->{status};
    kill CONT => $one;

    is($status, 200, 'it is denied');
    is($c->wait_close(5), 4403, 'and closed');
    is(join(' ', map { $_->{data} }
            @{ $other->request(GET => '/api/channels/sent/messages')->json->{messages} }),
       '1', 'nothing more is published');
};


subtest 'a client, an address' => sub {
    my $c = $nginx->native(path => '/rt?user=cl');
    my $same = $nginx->native(path => '/rt?user=cl');

    ask(PUT => 'denials/client:' . $c->client . '?for=60');
    is($c->wait_close(5), 4403, 'the client');
    is($same->cmd('publish', channel => 'a', data => 1)->{ok} ? 1 : 0, 1,
       'no other one of its user');
    is(refused('/rt?user=cl', resume => $c->resume), '403 403 403 403',
       'it does not resume');
    is(refused('/rt?user=cl'), '101 200 200 204', 'as another it may come');

    for (['192.0.2.7', '192.0.2.7', '192.0.2.8'],
         ['2001:db8::5', '2001:db8::77', '2001:db8:0:1::5'])
    {
        my ($address, $in, $out) = @$_;
        my @c = map { $nginx->native(path => '/rt', headers => [ [ 'X-Real' => $_ ] ]) }
                $in, $out;

        is(ask(PUT => "denials/address:$address?for=60")->{status}, 200, $address);
        is($c[0]->wait_close(5), 4403, 'is closed');
        is($c[1]->cmd('publish', channel => 'a', data => 1)->{ok} ? 1 : 0, 1,
           'another is not');
        is(knock('/rt', headers => [ [ 'X-Real' => $in ] ]), 403,
           'and refused');
    }

    my $raw = $nginx->ws(path => '/raw?user=rawly&channel=a');

    is($raw->status, 101, 'raw');
    ask(PUT => 'denials/user:rawly?for=60');
    is($raw->wait_close(5), 4403, 'is closed');
};


subtest 'tokens' => sub {
    my $now = CORE::time();
    my %claims = (sub => 'tom', iat => $now - 10);
    my %c = map { $_ => $nginx->native(path => '/jwt',
                      token => token({ %claims, jti => $_ })) } 'one', 'two';

    is(ask(PUT => 'denials/token:one?for=60')->{status}, 200, 'by its jti');
    is($c{one}->wait_close(5), 4403, 'its session ends');
    is($c{one}->close_reason, 'revoked', 'for this reason');
    is($c{two}->cmd('publish', channel => 'a', data => 1)->{ok} ? 1 : 0, 1,
       'another one goes on');
    is(refused('/jwt', token => token({ %claims, jti => 'one' })),
       '401 401 401 401', 'it is refused');
    is($c{two}->cmd('auth', token => token({ %claims, jti => 'one' }))
       ->{error}{code}, 'unauthorized', 'in place, too');

    my $new = $nginx->native(path => '/jwt',
                             token => token({ sub => 'tom', iat => $now + 1 }));
    my $bob = $nginx->native(path => '/jwt',
                             token => token({ sub => 'bob', iat => $now - 10 }));

    is(ask(POST => "users/tom/revoke?before=$now")->json->{before}, $now,
       'all issued before');
    is($c{two}->wait_close(5), 4403, 'the older one');
    ok($_->ok('publish', channel => 'a', data => 1), 'not others') for $new, $bob;
    is(refused('/jwt', token => token({ sub => 'tom', iat => $now - 1 })),
       '401 401 401 401', 'it is refused');
    is(refused('/jwt', token => token({ sub => 'tom' })),
       '401 401 401 401', 'as is one that does not say');

    ask(POST => 'users/bob/revoke');
    is($bob->wait_close(5), 4403, 'all issued until now');
    is(ask(DELETE => 'denials/tokens:bob')->{status}, 200, 'taken back');
    is(knock('/jwt',
                      token => token({ sub => 'bob', iat => $now })), 101,
       'they are valid again');
};


# the zone does not know the tokens of clients that are away, but that all of a
# user have been issued by now

subtest 'tokens of clients that are away' => sub {
    my $now = CORE::time();
    my $away = sub {
        my ($user) = @_;

        my $c = $nginx->native(path => '/jwt',
                               token => token({ sub => $user, iat => $now - 10 }));

        $c->ok('join', channel => $user, presence => {});
        $c->ok('lock', channel => $user, name => 'x');
        $c->cut;

        ok(Fanout::Nginx::wait_for(sub {
            grep { $_->{lingers} }
                @{ ask(GET => "channels/$user/presence")->json->{members} };
        }, 5), "$user lingers");
    };
    my $locks = sub {
        scalar @{ ask(GET => "channels/$_[0]/locks")->json->{locks} || [] };
    };

    $away->($_) for 'all', 'some';

    is(ask(POST => 'users/some/revoke?before=' . ($now - 20))->{status}, 200, 'older ones');
    is(members('some') . $locks->('some'), '11', 'it stays');
    is(ask(POST => 'users/all/revoke')->{status}, 200, 'all of a user');
    ok(Fanout::Nginx::wait_for(sub { members('all') . $locks->('all') eq '00' }, 2),
       'no member is left, and no lock');
    is(members('some') . $locks->('some'), '11', 'no other');
};


subtest 'tries of who is shut out' => sub {
    my $token = token({ sub => 'often', exp => CORE::time() + 600 });

    ask(PUT => 'denials/user:often?for=60');

    my %got;
    my ($one) = $nginx->worker_pids;

    $got{ knock('/tries', token => $token, worker => $one) }++ for 1 .. 12;

    is(join(' ', sort keys %got), '403 429',
       'are limited, like those with a token that is not valid');
};


subtest 'reauthorization' => sub {
    my $now = CORE::time();
    my $tok = sub { token({ sub => 'rea', iat => $now, exp => $now + 3600, @_ }) };
    my @c = map { $nginx->native(path => '/jwt', token => $tok->()) } 1, 2;
    my $other = $nginx->native(path => '/jwt', token => token({ sub => 'oth' }));
    my $plain = $nginx->native(path => '/rt?user=rea');

    is(ask(POST => 'users/rea/reauthorize?within=1500')->{status}, 200, 'asked');

    for (@c) {
        my $e = $_->next_where(sub { $_[0]{expiring} }, 5);
        cmp_ok($e->{expiring}{in}, '<=', 1500, 'it is told');
    }

    is($plain->wait_close(5), 4401, 'without a token it has to connect again');
    ok($c[0]->ok('auth', token => $tok->()), 'one renews');
    is($c[1]->wait_close(5), 4401, 'the other ends');
    ok($_->ok('publish', channel => 'a', data => 1), 'goes on') for $c[0], $other;
    is(knock('/jwt', token => $tok->()), 101,
       'it may come back');
    is(scalar(grep { $_->{who} =~ /rea/ } @{ ask(GET => 'denials')->json->{denials} }),
       0, 'nobody is shut out');
};


subtest 'the list, arguments, a batch' => sub {
    is(code(ask(PUT => "denials/$_")), 'bad_request', $_)
        for 'user:x', 'user:x?for=0', 'user:x?for=99999999', 'user:x?for=1&x=1',
            'user:?for=1', 'x?for=1', 'client:x?for=1', 'address:x?for=1',
            'address:192.0.2.1%2F24?for=1', 'user:x?for=1&before=5',
            'user:' . 'x' x 256 . '?for=1';
    is(code(ask(POST => "users/x/$_")), 'bad_request', $_)
        for 'reauthorize?within=9999999', 'reauthorize?within=0', 'revoke?before=0',
            'revoke?for=0', 'revoke?before=5&for=0';
    like(ask(PUT => 'denials/user:a%0ab?for=9')->{body}, qr/control characters/, 'a line');
    is(code(ask(PUT => 'denials/user:x?for=9', body => '{}')), 'bad_request', 'a body');
    is(code(ask(DELETE => 'denials/user:nobody')), 'not_found', 'none to end');
    is(code(ask(GET => 'denials/user:nobody')), 'not_found', 'none to see');

    ask(PUT => 'denials/user:a%2Fb%20c?for=60');
    is(ask(GET => 'denials/user:a%2Fb%20c')->json->{who}, 'user:a/b c', 'one');
    is(ask(GET => 'denials/address:2001:db8::1')->json->{who},
       'address:2001:db8::/64', 'a network');

    my (%who, $cursor);

    do {
        my $r = ask(GET => 'denials?limit=10' . ($cursor ? "&cursor=$cursor" : ''))->json;
        $who{ $_->{who} }++ for @{ $r->{denials} };
        $cursor = $r->{cursor};
    } while ($cursor);

    is($who{'user:a/b c'}, 1, 'listed');
    is($who{'tokens:tom'}, 1, 'tokens, too');
    is(scalar(grep { $_ != 1 } values %who), 0, 'each once');
    is(scalar(keys %who), $http->get('/status')->json->{zone}{denials} - 1,
       'as many as the status says, and a reauthorization');

    my $r = ask(POST => 'batch', body => Fanout::JSON::encode([
        { op => 'block', who => 'user:bat', for => 60 },
        { op => 'unblock', who => 'user:bat' },
        { op => 'unblock', who => 'user:bat' },
        { op => 'revoke', user => 'bat', before => 5, for => 60 },
        { op => 'reauthorize', user => 'bat', within => 10 },
        { op => 'block', who => 'user:bat' },
        { op => 'reauthorize', user => 'bat', within => 0 },
        { op => 'revoke', user => 'bat', before => 0 },
    ]))->json;

    is(join(' ', map { $_->{error} ? $_->{error}{code} : 'ok' } @$r),
       'ok ok not_found ok ok' . ' bad_request' x 3, 'a batch');
};


subtest 'a full table' => sub {
    my $put = sub { $http->request(PUT => "/few/denials/user:$_[0]?for=" . ($_[1] || 60)) };

    is($put->($_, 1)->{status}, 200, "denial $_") for 1 .. 3;
    is($put->(4)->{status}, 507, 'as many as there may be');
    is($put->(3, 60)->{status}, 200, 'one of them is renewed');
    is($http->get('/status-few')->json->{zone}{$_}, 3, $_)
        for 'denials', 'denials_limit';
    ok(Fanout::Nginx::wait_for(sub { $put->(4)->{status} == 200 }, 8),
       'there is room when others have ended');
};


subtest 'it ends by itself' => sub {
    ask(PUT => 'denials/user:brief?for=1');
    is(knock('/rt?user=brief'), 403, 'refused');
    ok(Fanout::Nginx::wait_for(sub {
        knock('/rt?user=brief') == 101
    }, 6), 'let in again');
};


subtest 'a killed worker, a reload' => sub {
    ask(PUT => 'denials/user:kept?for=600');
    $nginx->kill_worker(($nginx->worker_pids)[0]);
    Fanout::Nginx::wait_for(sub { $nginx->worker_pids == 3 }, 10);
    $http = $nginx->http;
    is(knock('/rt?user=kept'), 403, 'one was killed');
    $nginx->reload;
    $http = $nginx->http;
    is(knock('/rt?user=kept'), 403, 'new workers know it');

    my $c = $nginx->native(path => '/rt?user=late');

    ask(PUT => 'denials/user:late?for=600');
    is($c->wait_close(5), 4403, 'they apply what is new');
};


subtest 'many at once' => sub {
    my ($one, $two) = $nginx->worker_pids;
    my @c = map { $nginx->native(path => "/rt?user=many$_", worker => $one) } 0, 127;
    my $other = $nginx->http(worker => $two);

    my $told = $nginx->native(path => '/jwt', worker => $one, token => token({
        sub => 'told', iat => CORE::time() - 10, exp => CORE::time() + 3600 }));

    $other->request(POST => '/api/users/told/reauthorize?within=60000');
    ok($told->next_where(sub { $_[0]{expiring} }, 5), 'one has to renew');

    # it sees all of them at a time

    kill STOP => $one;

    for my $from (0, 64) {
        $other->request(POST => '/api/batch', body => Fanout::JSON::encode([
            map { { op => 'block', who => "user:many$_", for => 60 } }
                $from .. $from + 63
        ]));
    }

    kill CONT => $one;

    is($_->wait_close(5), 4403, 'the first and the last') for @c;
    ok($told->ok('ping'), 'another goes on');
    ok(!$told->next_where(sub { $_[0]{expiring} }, 0.1),
       'and has no more time than it was told');

    my $status = $http->get('/status')->json;
    cmp_ok($status->{counters}{denied}, '>', 5, 'counted');
    cmp_ok($status->{counters}{denied_handshakes}, '>', 5, 'handshakes, too');
};


$nginx->done_testing;
