#!/usr/bin/env perl

# Tokens that come with the first command (fanout_jwt from=command). If this
# fails, somebody does something before it has come, or gets in without one, or
# holds a place for long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Backend;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $secret  = 'a secret that only the backend knows';
my $backend = Fanout::Backend->start;
my $port    = $backend->port;

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10 presence=on;
        fanout_resume 1m;
        fanout_expiring 0;
END
    server => <<"END",
        fanout_jwt 'secret=$secret' from=command from=header wait=3s leeway=0;
        fanout_log %%DIR%%/fanout.log events=connect,deny,close;
        location /fanout/ { fanout_api app; }
        location = /status { fanout_status app; }
        fanout_hook app /hook connect;
        location = /hook { internal; proxy_pass http://127.0.0.1:$port; }
        location /rt {
            fanout app;
            fanout_user      \$fanout_claim_sub;
            fanout_user_info name=\$fanout_claim_name;
            fanout_permit    all \$fanout_claim_room;
            fanout_deflate   on;
        }
        location /one {
            fanout app;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
            fanout_sessions_per_user 1;
        }
        location /few {
            fanout app;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
            fanout_budget user sessions=1/s burst=2s;
        }
        location /crowd {
            fanout app;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
            fanout_sessions_per_address 20;
        }
        location /rated {
            fanout app;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
            fanout_budget address sessions=1/s burst=5s;
        }
        location /bytes {
            fanout app;
            fanout_user      \$fanout_claim_sub;
            fanout_user_info name=\$fanout_claim_name;
            fanout_permit    all *;
            fanout_budget    session bytes=1k/s burst=1s;
        }
        location /asks {
            fanout app;
            auth_request  /ask;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
        }
        location /asks_long {
            fanout app;
            fanout_jwt    'secret=$secret' from=command wait=2m;
            auth_request  /ask;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
        }
        location = /ask {
            internal;
            proxy_pass http://127.0.0.1:$port;
            proxy_pass_request_body off;
        }
        location /small {
            fanout app;
            fanout_jwt 'secret=$secret' from=command handshake=100;
            fanout_permit all *;
        }
END
);

my $http = $nginx->http;

sub token { return Fanout::JWT::sign('HS256', $secret, @_) }

sub unproved {
    my ($path, %o) = @_;
    return $nginx->native(path => $path, welcome => 0, %o);
}

sub prove {
    my ($s, $claims) = @_;

    my $id = $s->send_cmd('auth', token => ref $claims ? token($claims) : $claims);
    my $welcome = $s->next_where(sub { $_[0]{welcome} }, 5);
    my $reply = $s->reply($id);

    $s->{welcome} = $welcome->{welcome} if $welcome;
    return $reply;
}

sub status { return $http->get('/status')->json }

sub sessions {
    my $n = 0;
    $n += $_->{sessions} for @{ status()->{workers} };
    return $n;
}

sub connects {
    my ($user) = @_;
    return scalar grep { /"connect"/ && /"user":"\Q$user"/ } $backend->requests;
}

my @ann = (sub => 'ann', room => 'a', name => 'Ann');


subtest 'the session begins with it' => sub {
    my $s = unproved('/rt');

    is($http->get('/fanout/users/ann')->{status}, 404, 'nobody is there');

    for my $op ([ 'publish', channel => 'a', data => 1 ], [ 'join', channel => 'a' ],
                [ 'ping' ], [ 'history', channel => 'a' ])
    {
        is($s->cmd(@$op)->{error}{code}, 'unauthorized', "no $op->[0] before");
    }

    my $r = prove($s, { @ann, exp => CORE::time() + 600 });

    is($r->{ok}{user}, 'ann', 'the user');
    is($s->welcome->{user}, 'ann', 'in the welcome, too');
    cmp_ok($s->welcome->{expires}, '>', $s->welcome->{time}, 'until when');
    is($s->ok('join', channel => 'a', presence => {})->{members}[0]{info}{name},
       'Ann', 'the profile');
    is($s->cmd('join', channel => 'b')->{error}{code}, 'forbidden', 'permissions');
    is($s->cmd('auth', token => token({ sub => 'eve' }))->{error}{code},
       'forbidden', 'nobody else later');

    # it comes back

    $s->cut;

    my $back = unproved('/rt', resume => $s->resume);
    prove($back, { @ann });
    is($back->welcome->{resumed} ? 1 : 0, 1, 'resumed');
    is($back->client, $s->client, 'the same client');
    $back->cut;

    my $eve = unproved('/rt', resume => $back->resume);
    prove($eve, { @ann, sub => 'eve' });
    is($eve->welcome->{resumed} ? 1 : 0, 0, 'not by another user');
    $eve->close(1000);
};


subtest 'a token in another place counts' => sub {
    my $s = $nginx->native(path => '/rt',
        headers => { Authorization => 'Bearer ' . token({ @ann }) });

    is($s->welcome->{user}, 'ann', 'welcome at once');
    $s->close(1000);

    my $ws = $nginx->ws(path => '/rt', expect => undef,
                        headers => { Authorization => 'Bearer x.y.z' });
    is($ws->status, 401, 'also a wrong one');

    for my $path ('/rt?channel=a&poll=1', '/rt?channel=a') {
        is($http->get($path, headers => { Accept => $path =~ /poll/
                          ? '*/*' : 'text/event-stream' })->{status}, 401,
           'no command, no token: 401');
    }

    is($http->post('/rt', '{"op":"ping"}', headers => {
           'Content-Type' => 'application/json' })->{status}, 401, 'POST');
};


subtest 'what is no token' => sub {
    my $s = unproved('/rt');
    my $id = $s->send_cmd('auth', token => 'rubbish');

    is($s->reply($id)->{error}{code}, 'unauthorized', 'rubbish');
    is(prove($s, { @ann })->{ok}{user}, 'ann', 'the next one counts');
    $s->close(1000);

    $s = unproved('/rt');
    my $begin = CORE::time();
    is($s->wait_close(20), 4401, 'none at all');
    is($s->close_reason, 'no token', 'is told');

    $s = unproved('/rt');
    $s->send_cmd('auth', token => 'rubbish') for 1 .. 3;
    is($s->wait_close(20), 4401, 'tries end with the time');

    is($nginx->ws(path => '/small', expect => undef,
                  headers => { 'X-Long' => 'x' x 100 })->status, 400,
       'a handshake that can\'t be kept');
};


subtest 'nothing else before' => sub {
    my $bob = unproved('/crowd');
    prove($bob, { sub => 'bob' });
    $bob->ok('join', channel => 'q');
    ok(Fanout::Nginx::wait_for(sub { connects('bob') }), 'a hook knows of him');

    my $n = connects('ann');
    my $s = unproved('/crowd?join=q&channel=q');

    for my $op (qw( publish signal join leave history presence members set delete
                    get lock unlock ping auto nothing ))
    {
        is($s->cmd($op, channel => 'q', data => 1, record => 'r', name => 'l',
                   event => 'e')->{error}{code}, 'unauthorized', $op);
    }

    $s->send_text('{"op":"publish","channel":"q","data":1}');
    $s->send_text('[' . join(',', ('{"op":"join","channel":"q"}') x 3) . ']');
    $s->send_ping('x');
    is($s->cmd('ping')->{error}{code}, 'unauthorized', 'with no id, in an array');

    is($bob->cmd('publish', channel => 'q', data => 1, to => { user => 'ann' })
           ->{error}{code}, 'recipient_offline', 'no messages get there');
    is_deeply([ grep { !$_->{error} } $s->drain ], [], 'it is told nothing');
    is_deeply($bob->ok('members', channel => 'q')->{members}, [], 'nobody came');
    is($bob->ok('history', channel => 'q')->{offset}, 0, 'nothing was published');
    is(connects('ann'), $n, 'no hook knows of it');

    prove($s, { sub => 'ann' });
    ok(Fanout::Nginx::wait_for(sub { connects('ann') > $n }), 'now one does');
    $s->ok('join', channel => 'q');
    $bob->ok('publish', channel => 'q', data => 'hi', to => { user => 'ann' });
    is($s->next_where(sub { defined $_[0]{data} })->{data}, 'hi',
       'and messages get there');
    $_->close(1000) for $s, $bob;

    # what only looks like a WebSocket

    for ([ 405, 'POST' ], [ 405, 'PUT' ], [ 405, 'HEAD' ]) {
        is($nginx->ws(path => '/rt?channel=a', method => $_->[1],
                      expect => undef)->status, $_->[0], $_->[1]);
    }

    is($http->get('/rt?channel=a', headers => { Upgrade => 'h2c' })->{status},
       426, 'another upgrade');
};


subtest 'behind each other' => sub {
    my $ann = token({ @ann });
    my $s = unproved('/rt', after => join '',
        map { Fanout::WS->frame(1, Fanout::JSON::encode($_)) }
            { id => 'a', op => 'publish', channel => 'a', data => 1 },
            { id => 'b', op => 'auth', token => $ann },
            { id => 'c', op => 'publish', channel => 'a', data => 2 },
            { id => 'd', op => 'auth', token => $ann },
            { id => 'e', op => 'auth', token => token({ @ann, sub => 'eve' }) },
            { id => 'f', op => 'publish', channel => 'a', data => 3 });

    my %r = map { my $r = $s->reply($_); ($_ => $r->{error} ? $r->{error}{code}
                                                            : 'ok') } 'a' .. 'f';

    is_deeply(\%r, { a => 'unauthorized', b => 'ok', c => 'ok', d => 'ok',
                     e => 'forbidden', f => 'ok' }, 'each in its turn');
    is(() = grep({ $_->{welcome} } $s->drain), 1, 'one welcome');
    is_deeply([ map { $_->{data} } @{ $s->ok('history', channel => 'a',
                                             limit => 2)->{messages} } ],
              [ 2, 3 ], 'what was published');
    $s->close(1000);
};


subtest 'in an array' => sub {
    my $s = unproved('/rt');
    my @r = $s->batch({ op => 'auth', token => token({ @ann }) },
                      { op => 'publish', channel => 'a', data => 1 });

    is_deeply([ map { $_->{error} ? $_->{error}{code} : 'ok' } @r ],
              [ 'ok', 'ok' ], 'with what follows');
    $s->close(1000);

    $s = unproved('/rt');
    @r = $s->batch({ op => 'publish', channel => 'a', data => 1 },
                   { op => 'auth', token => 'rubbish' },
                   { op => 'publish', channel => 'a', data => 1 });
    is_deeply([ map { $_->{error}{code} } @r ], [ ('unauthorized') x 3 ],
              'without one that is valid');
    $s->close(1000);
};


subtest 'limits of the user' => sub {
    my $s = unproved('/one');
    prove($s, { sub => 'dan' });

    my $t = unproved('/one');
    $t->send_cmd('auth', token => token({ sub => 'dan' }));
    is($t->wait_close(20), 4429, 'fanout_sessions_per_user');
    is($t->recv_frame(1), undef, 'nothing follows the close');
    ok($s->ok('ping'), 'the first goes on');
    $_->cut for $s, $t;

    my @codes = map {
        my $few = unproved('/few');
        my $id = $few->send_cmd('auth', token => token({ sub => 'bob' }));
        my $r = $few->reply($id);
        $few->cut;
        $r->{error} ? $r->{error}{code} : 'ok';
    } 1 .. 4;

    is($codes[0], 'ok', 'fanout_budget user');
    is($codes[-1], 'rate_limited', 'sessions=');

    my $r = unproved('/few');
    prove($r, { sub => 'cat' });

    for (1 .. 4) {
        $r->cut;
        $r = unproved('/few', resume => $r->resume);
        ok(prove($r, { sub => 'cat' })->{ok}, 'a resume is free');
        ok($r->welcome->{resumed}, 'and is one');
    }

    $r->close(1000);

    $r = unproved('/bytes');
    ok(prove($r, { sub => 'ann', name => 'x' x 2000 })->{ok}, 'a long profile');
    is($r->cmd('publish', channel => 'a', data => 1)->{error}{data}{limit},
       'bytes', 'counts');
    $r->close(1000);
};


subtest 'how long, and how much' => sub {
    my $slow  = unproved('/rt');
    my $bytes = Fanout::WS->frame(1, '{"op":"auth","token":"' . 'x' x 100 . '"}');
    my $code;

    for (1 .. 60) {
        $slow->send_bytes(substr $bytes, 0, 1, '');
        last if defined($code = $slow->wait_close(0.2));
    }

    is($code, 4401, 'a byte now and then');

    my $pings = unproved('/rt');

    for (1 .. 60) {
        $pings->send_ping('x');
        last if defined($code = $pings->wait_close(0.2));
    }

    is($code, 4401, 'pings');

    my $long = unproved('/rt');
    $long->send_text(Fanout::JSON::encode({ op => 'publish', data => 'x' x 20000 }));
    is($long->wait_close, 1009, 'no token is as long as that');

    $long = unproved('/rt');
    $long->send_frame(1, 'x' x 4000, fin => 0);
    $long->send_frame(0, 'x' x 4000, fin => 0) for 1 .. 3;
    is($long->wait_close, 1009, 'nor in fragments');

    $long = unproved('/rt', deflate => 1);
    $long->send_deflated(1, Fanout::JSON::encode({ op => 'publish',
                                                   data => 'x' x 20000 }));
    is($long->wait_close, 1009, 'nor inflated');

    for my $deflate (0, 1) {
        my $s = unproved('/rt', deflate => $deflate);
        my $send = $deflate ? sub { $s->send_deflated(1, $_[0]) }
                            : sub { $s->send_text($_[0]) };

        $send->(Fanout::JSON::encode({ id => 'a', op => 'auth',
                                       token => token({ @ann }) }));
        ok($s->reply('a')->{ok}, 'a token');
        $send->(Fanout::JSON::encode({ id => 'b', op => 'publish',
                    channel => 'a', data => 'x' x 60000 }));
        ok($s->reply('b')->{ok}, 'then messages are as long as ever');
        $s->close(1000);
    }
};


# A place is free a moment after its session is no longer counted.

sub crowd {
    my @open;

    Fanout::Nginx::wait_for(sub {
        my $s = unproved('/crowd', local => '127.0.0.2', expect => undef);

        push @open, $s if $s->status == 101;
        return @open == 20;
    }, 20) or die 'no 20 sessions of one address';

    return @open;
}


subtest 'an address that opens many' => sub {
    my @open = map { unproved('/crowd', local => '127.0.0.2') } 1 .. 20;

    my $more = $nginx->ws(path => '/crowd', local => '127.0.0.2', expect => undef);
    is($more->status, 503, 'no more of them');
    like($more->body, qr/fanout_sessions_per_address/, 'and why');

    my $other = unproved('/crowd', local => '127.0.0.3');
    ok(prove($other, { sub => 'ann' })->{ok}, 'another address gets in');
    ok($other->ok('publish', channel => 'a', data => 1), 'and does what it may');

    is($_->wait_close(20), 4401, 'they end') for @open[0, -1];
    ok(Fanout::Nginx::wait_for(sub { sessions() == 1 }, 20), 'all of them');

    @open = crowd();
    ok(prove($open[-1], { sub => 'bob' })->{ok}, 'their places are free again');
    $_->cut for @open;

    # workers that die

    ok(Fanout::Nginx::wait_for(sub { sessions() == 1 }, 20), 'they are gone');
    @open = crowd();
    $nginx->kill_worker($_) for $nginx->worker_pids;
    $_->cut for @open;

    my $last = Fanout::Nginx::wait_for(sub {
        my @again = map { $nginx->native(path => '/crowd', local => '127.0.0.2',
                                         welcome => 0, expect => undef) } 1 .. 20;
        return $again[-1]->status == 101 && $again[-1];
    }, 20);
    ok($last && prove($last, { sub => 'ann' })->{ok}, 'or with their worker');
    $last->close(1000);

    my @status = map { $nginx->ws(path => '/rated', local => '127.0.0.4',
                                  expect => undef)->status } 1 .. 8;
    is($status[0], 101, 'fanout_budget address');
    is($status[-1], 429, 'sessions=');
    is($nginx->ws(path => '/rated', local => '127.0.0.5')->status, 101,
       'not of another address');
};


subtest 'a backend that takes its time' => sub {
    my $n = 0;

    for my $how ('close', 'cut', 'wait', 'reload') {
        my $s = unproved($how eq 'wait' ? '/asks' : '/asks_long');
        my $asked = scalar $backend->requests;

        $backend->override(wait => "go$n", send => response(200, [], ''));
        my $id = $s->send_cmd('auth', token => token({ sub => "u$n" }));
        $s->send_cmd('publish', channel => 'late', data => 1);
        ok($backend->wait_requests($asked + 1), "it is asked: $how");

        if ($how eq 'cut') {
            $s->cut;

        } elsif ($how eq 'close') {
            $s->send_close(1000);

        } elsif ($how eq 'wait') {
            is($s->wait_close(20), 4401, 'the time is over');
            is($s->close_reason, 'no token', 'and why');

        } else {
            $nginx->reload;
        }

        is($http->get("/fanout/users/u$n")->{status}, 404, 'nobody is there');
        $backend->let("go$n");
        $backend->override;

        if ($how eq 'close') {
            is($s->wait_close, 1000, 'what was asked is done');

        } elsif ($how eq 'reload') {
            ok($s->reply($id), 'an answer');
            is($s->wait_close(20), 1012, 'and the end');
        }

        $s->cut;
        $n++;
    }

    ok(Fanout::Nginx::wait_for(sub { sessions() == 0 }, 20), 'none is left');

    my $s = unproved('/asks');
    ok(prove($s, { sub => 'ann' })->{ok}, 'it goes on');
    $s->close(1000);
};


subtest 'who begins with it is shut out as others are' => sub {
    my %shut = (
        user   => sub { $http->put("/fanout/denials/user:$_[0]?for=60", '') },
        token  => sub { $http->put("/fanout/denials/token:$_[0]?for=60", '') },
        tokens => sub { $http->post("/fanout/users/$_[0]/revoke", '') },
    );

    for my $kind (sort keys %shut) {
        my $user = "shut-$kind";
        my $s = unproved('/rt');

        ok(prove($s, { sub => $user, jti => $user, iat => CORE::time() - 10 })->{ok},
           'it begins');
        is($shut{$kind}->($user)->{status}, 200, $kind);
        is($s->wait_close(5), 4403, 'it ends');
    }
};


subtest 'what operators see' => sub {
    ok(Fanout::Nginx::wait_for(sub { sessions() == 0 }, 20), 'none is left');

    my $was = status()->{counters};
    is($nginx->ws(path => '/small', expect => undef,
                  headers => { 'X-Long' => 'x' x 100 })->status, 400, 'refused');

    my $s = unproved('/rt');
    is($s->wait_close(20), 4401, 'no token');
    $s->cut;

    my $now;
    ok(Fanout::Nginx::wait_for(sub {
           $now = status()->{counters};
           $now->{disconnects} - $was->{disconnects} == 1;
       }), 'an end');
    is($now->{connects} - $was->{connects}, 1, 'for each that began');
    is($now->{timeouts} - $was->{timeouts}, 1, 'it was silent');

    open my $f, '<', $nginx->dir . '/fanout.log' or die "fanout.log: $!";
    my @lines = map { Fanout::JSON::decode($_) } <$f>;
    my ($deny) = grep { ($_->{reason} // '') =~ /wait=/ } @lines;

    is($deny->{event}, 'deny', 'the log says so');
    is($deny->{status}, 401, 'with its status');
    is(() = grep({ $_->{event} eq 'connect' && !$_->{client} } @lines), 0,
       'nobody connects before');
    ok((grep { $_->{event} eq 'connect' && ($_->{user} // '') eq 'ann' } @lines)
       ? 1 : 0, 'with the user then');
};


subtest 'memory' => sub {
    my $n = 400;
    my $rss = sub { my $sum = 0; $sum += $nginx->rss($_) for $nginx->worker_pids;
                    return $sum };

    my @warm = map { unproved('/rt') } 1 .. $n;
    $_->cut for @warm;
    @warm = ();
    ok(Fanout::Nginx::wait_for(sub { sessions() == 0 }, 20), 'none');

    my $before = $rss->();
    my @open = map {
        my $s = unproved('/rt', headers => { 'X-Long' => 'x' x 3000 });
        $s->send_frame(1, 'x' x 4000, fin => 0);
        $s->send_frame(0, 'x' x 4000, fin => 0) for 1 .. 2;
        $s
    } 1 .. $n;

    my $each = ($rss->() - $before) / $n;
    note("$each bytes each");
    cmp_ok($each, '<', 24000, 'of a session without a token');
    $_->cut for @open;
} if !$ENV{TEST_SANITIZE};


$nginx->done_testing;
