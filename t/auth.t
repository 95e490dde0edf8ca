#!/usr/bin/env perl

# The command "auth": a session gets a new token in place. If this fails, somebody
# keeps what the new token does not allow, becomes somebody else, gets past an
# access rule, or loses the session for a token that was refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();

use Fanout::Backend;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Stream;


my $secret  = 'a secret that only the backend knows';
my $backend = Fanout::Backend->start;
my $port    = $backend->port;

my $users   = File::Temp->new;

print $users "ann:{PLAIN}pass\n";
close $users;
chmod 0644, "$users";

my $nginx = Fanout::Nginx->start(
    workers => 2,
    tls     => 1,
    http    => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10 presence=on locks=1m records=on batch=10ms;
        fanout_resume 1m;
        fanout_expiring 0;
        map $fanout_claim_room $mapped { default $fanout_claim_room-map; }
        server {
            listen 127.0.0.1:%%PORT1%%;
            server_name ~^(?<tenant>[a-z]+)\.example$;
            fanout_jwt 'secret=a secret that only the backend knows'
                       from=subprotocol;
            location /rt {
                fanout app;
                fanout_user   $fanout_claim_sub;
                fanout_permit all $tenant $host;
            }
        }
        server {
            listen 127.0.0.1:%%PORT1%%;
            server_name other.test;
            location / { return 200; }
        }
        log_format all '$request $request_uri $http_authorization $status';
END
    server => join('', <<'END', <<"END"),
        access_log %%DIR%%/access.log all;
        fanout_log %%DIR%%/fanout.log events=auth,deny;
        fanout_jwt 'secret=a secret that only the backend knows'
                   from=header from=subprotocol from=query:token leeway=0;
        location /fanout/ { fanout_api app; }
        lingering_close always;
        location /rt {
            fanout app;
            set $room $fanout_claim_room;
            fanout_user      $fanout_claim_sub@$remote_addr:$server_port:$https;
            fanout_user_info name=$fanout_claim_name;
            fanout_permit all $fanout_claim_room $room-set $mapped;
            fanout_permit join,publish open;
            fanout_rate 1000r/s burst=1000;
        }
        location /ops {
            fanout app;
            fanout_user   $fanout_claim_sub;
            fanout_permit join,publish,history,signal,record *;
            fanout_permit presence $fanout_claim_present;
            fanout_permit lock     $fanout_claim_locks;
        }
        location /joins {
            fanout app;
            fanout_user   $fanout_claim_sub;
            fanout_permit publish,history,presence,signal,record,lock *;
            fanout_permit join $fanout_claim_joins;
        }
        location /soon {
            fanout app;
            fanout_expiring 2s;
            fanout_user   $fanout_claim_sub;
            fanout_permit all *;
        }
        location /bounded {
            fanout app;
            fanout_session_max 3s;
            fanout_expiring 1s;
            fanout_user   $fanout_claim_sub;
            fanout_permit all *;
        }
        location /outer {
            fanout_jwt 'secret=a secret that only the backend knows'
                       from=header:X-Outer;
            if ($fanout_claim_other) { set $outer 1; }
            location /outer/cookie {
                fanout app;
                fanout_jwt 'secret=a secret that only the backend knows'
                           from=cookie:tok;
                fanout_user   $fanout_claim_sub;
                fanout_permit all $fanout_claim_room;
            }
        }
        location /small {
            fanout app;
            fanout_jwt 'secret=a secret that only the backend knows' size=1k
                       handshake=300;
            fanout_user   $fanout_claim_sub;
            fanout_permit all *;
        }
        location /rated {
            fanout app;
            fanout_user   $fanout_claim_sub;
            fanout_permit all *;
            fanout_rate 10r/s burst=100;
        }
        location /plain {
            fanout app;
            fanout_jwt off;
            fanout_permit all *;
        }
        location /denied {
            fanout app;
            fanout_user   $fanout_claim_sub;
            fanout_permit all *;
            if ($fanout_claim_banned) { return 403; }
            if ($fanout_claim_moved) { rewrite ^ /elsewhere last; }
        }
        location /elsewhere { return 200 "hello"; }
END
        location /basic {
            fanout app;
            auth_basic           users;
            auth_basic_user_file $users;
            fanout_user          \$fanout_claim_sub\@\$remote_user;
            fanout_permit        all *;
        }
        location /asks {
            fanout app;
            auth_request     /ask;
            auth_request_set \$name \$upstream_http_x_name;
            fanout_timeout   3s;
            fanout_user      \$fanout_claim_sub;
            fanout_user_info name=\$name;
            fanout_permit    all *;
        }
        location = /ask {
            internal;
            proxy_pass http://127.0.0.1:$port/ask;
            proxy_pass_request_body off;
            proxy_set_header X-Addr \$remote_addr;
        }
END
);

my $http = $nginx->http;


sub token { return Fanout::JWT::sign('HS256', $secret, @_) }

sub session {
    my ($path, $claims, %o) = @_;

    return $nginx->native(path => $path, token => token($claims), %o);
}

sub auth {
    my ($s, $claims) = @_;

    return $s->cmd('auth', token => ref $claims ? token($claims) : $claims);
}

my @first = (sub => 'ann', room => 'a', name => 'Ann');


for my $tls (0, 1) {

subtest $tls ? 'over TLS' : 'permissions are replaced' => sub {
    my $s = session('/rt', { @first }, tls => $tls);
    my $others = session('/rt', { sub => 'bob', room => 'a' });
    my $user = $s->welcome->{user};

    like($user, qr/^ann\@127\.0\.0\.1:\d+:@{[ $tls ? 'on' : '' ]}$/, 'the user');

    $others->ok('join', channel => 'a', presence => {});
    $others->ok('join', channel => 'open');
    $s->ok('join', channel => $_) for 'open', 'a-map', 'a-set';
    $s->ok('join', channel => 'a', presence => { x => 1 });
    $s->ok('lock', channel => 'a', name => 'l');

    my $before = CORE::time();
    my $r = auth($s, { sub => 'ann', room => 'b', name => 'Anna',
                       exp => $before + 600 });

    is($r->{ok}{user}, $user, 'the same user');
    cmp_ok(abs($r->{ok}{expires} / 1000 - $before - 600), '<', 3, 'until when');

    my %left = map { $_->{channel} => $_->{left}{reason} }
               map { $s->next_where(sub { $_[0]{left} }) } 1 .. 3;

    is_deeply(\%left, { map { $_ => 'forbidden' } 'a', 'a-map', 'a-set' },
              'joins that it does not allow end');

    is($others->next_where(sub {
           $_[0]{presence} && @{ $_[0]{presence}{left} || [] }
       })->{presence}{left}[0]{reason}, 'forbidden', 'others see the member go');
    is($others->cmd('lock', channel => 'a', name => 'l')->{ok} ? 1 : 0, 1,
       'its lock is free');

    is($s->cmd('publish', channel => 'a', data => 1)->{error}{code},
       'forbidden', 'no longer there');
    ok($s->ok('publish', channel => $_, data => 1), "now in $_")
        for 'b', 'b-map', 'b-set';

    $others->ok('publish', channel => 'a', data => 'secret');
    $others->ok('publish', channel => 'open', data => 'for all');

    is($s->next_where(sub { defined $_[0]{data} })->{data}, 'for all',
       'a join that stays gets what follows, the others nothing');

    my $members = $s->ok('join', channel => 'b', presence => {})->{members};
    is($members->[0]{info}{name}, 'Anna', 'the profile is the new one');

    # the connection is as good as before

    is(auth($s, { @first })->{ok}{user}, $user, 'again');
    ok($s->ok('publish', channel => 'a', data => 1), 'and it may again');
    $_->close(1000) for $s, $others;
};

}


subtest 'members and locks that are not allowed any more' => sub {
    my $s = session('/ops', { sub => 'ann', present => 'x', locks => 'x' });

    $s->ok('join', channel => 'x', presence => {});
    $s->ok('join', channel => 'y');
    ok(auth($s, { sub => 'ann', present => 'x' })->{ok}, 'without locks');
    ok($s->ok('publish', channel => 'x', data => 1), 'it held none');

    $s->cut;
    $s = session('/ops', { sub => 'eve', present => 'x', locks => 'x' });
    $s->ok('join', channel => 'x');
    $s->ok('lock', channel => 'x', name => 'l');
    ok(auth($s, { sub => 'eve', present => 'x' })->{ok}, 'the same');
    is($s->next_where(sub { $_[0]{left} })->{channel}, 'x',
       'it held a lock there: the join ends');

    my $other = session('/ops', { sub => 'bob', locks => 'x' });
    $other->ok('join', channel => 'x');
    ok($other->ok('lock', channel => 'x', name => 'l'), 'the lock is free');

    $s->ok('join', channel => 'x', want => [ 'messages' ]);
    ok(auth($s, { sub => 'eve' })->{ok}, 'without presence');
    ok($s->ok('leave', channel => 'x'), 'it wanted none');
    $_->close(1000) for $s, $other;

    # to join alone

    $s = session('/joins', { sub => 'ann', joins => 'z' });
    $s->ok('join', channel => 'z', presence => {});
    ok(auth($s, { sub => 'ann' })->{ok}, 'without join, but all the rest');
    is($s->next_where(sub { $_[0]{left} })->{left}{reason}, 'forbidden',
       'the join ends');
    $s->close(1000);

    # the same for who resumes with less

    $s = session('/ops', { sub => 'ann', present => 'x', locks => 'x' });
    $s->ok('join', channel => 'x', want => [ 'messages' ]);
    $s->ok('lock', channel => 'x', name => 'm');
    $s->cut;

    my $back = session('/ops', { sub => 'ann', present => 'x' },
                       resume => $s->resume);
    ok($back->welcome->{resumed}, 'resumed without locks');

    $other = session('/ops', { sub => 'bob', locks => 'x' });
    $other->ok('join', channel => 'x');
    ok($other->ok('lock', channel => 'x', name => 'm'), 'the lock is free');
    $_->close(1000) for $back, $other;
};


subtest 'what is refused changes nothing' => sub {
    my $s   = session('/rt', { @first });
    my $now = CORE::time();

    $s->ok('join', channel => 'a', presence => {});

    for ([ 'another user', 'forbidden', { @first, sub => 'eve' } ],
         [ 'no user', 'forbidden', { room => 'a' } ],
         [ 'expired', 'unauthorized', { @first, exp => $now - 10 } ],
         [ 'another key', 'unauthorized',
           Fanout::JWT::sign('HS256', 'x' x 32, { @first }) ],
         [ 'none', 'unauthorized',
           Fanout::JWT::base64url('{"alg":"none"}') . '.'
             . Fanout::JWT::base64url('{"sub":"ann","room":"a"}') . '.' ],
         [ 'words', 'unauthorized', 'a token' ],
         [ 'nothing', 'bad_request', '' ],
         [ 'very long', 'too_large', 'x' x 9000 ],
         [ 'with a line in it', 'unauthorized', "a\r\nX-Admin: 1" ],
         [ 'with a NUL', 'unauthorized', "a\0b" ])
    {
        my ($name, $code, $claims) = @$_;

        is(auth($s, $claims)->{error}{code}, $code, $name);
    }

    is($s->cmd('auth')->{error}{code}, 'bad_request', 'no token');
    is($s->cmd('auth', token => 1)->{error}{code}, 'bad_request', 'a number');
    is($s->cmd('auth', token => 'x', channel => 'a')->{error}{code},
       'bad_request', 'a channel');
    ok($s->ok('publish', channel => 'a', data => 1), 'it goes on');
    $s->close(1000);

    is($nginx->native(path => '/plain')->cmd('auth', token => 'x')
           ->{error}{code}, 'bad_request', 'where no tokens are');

    $s = session('/small', { @first });
    is(auth($s, { @first, x => 'x' x 2000 })->{error}{code}, 'too_large',
       'too large a token');
    ok(auth($s, { @first })->{ok}, 'a small one');

    $s = session('/small', { @first }, headers => { 'X-Long' => 'x' x 280 });
    like(auth($s, { @first })->{error}{message}, qr/handshake=/,
         'too large a handshake');

    my $r = $http->post('/rt', Fanout::JSON::encode(
                { op => 'auth', token => token({ @first }) }),
                headers => { Authorization => 'Bearer ' . token({ @first }),
                             'Content-Type' => 'application/json' });
    like($r->{body}, qr/a POST brings a token of its own/, 'by POST');
};


subtest 'the same server, by its name' => sub {
    my $s = session('/rt', { sub => 'ann' }, headers => { Host => 'a.example' },
                    server_port => 'PORT1');

    $s->ok('join', channel => 'a');
    ok(auth($s, { sub => 'ann' })->{ok}, 'renewed');
    ok($s->ok('publish', channel => $_, data => 1), "still $_")
        for 'a', 'a.example';
    is($s->cmd('publish', channel => 'b', data => 1)->{error}{code},
       'forbidden', 'and nobody else');
    $s->close(1000);

    # a host in the request line is that of the request, whatever the header says

    $s = session('http://a.example/rt', { sub => 'ann' },
                 headers => { Host => 'b.example' }, server_port => 'PORT1');
    ok($s->ok('publish', channel => 'a', data => 1), 'a');
    like(auth($s, { sub => 'ann' })->{error}{message}, qr/request line/,
         'is not asked again');
    is($s->cmd('publish', channel => 'b', data => 1)->{error}{code},
       'forbidden', 'nor is another one permitted');
    $s->close(1000);
};


subtest 'where another fanout_jwt is looked at first' => sub {
    my $s = $nginx->native(path => '/outer/cookie', headers => {
                Cookie => 'tok=' . token({ sub => 'ann', room => 'a' }) });

    is(auth($s, 'rubbish')->{error}{code}, 'unauthorized', 'rubbish');
    ok(auth($s, { sub => 'ann', room => 'b' })->{ok}, 'a token');
    is($s->cmd('publish', channel => 'a', data => 1)->{error}{code},
       'forbidden', 'what counts is the new one');
    ok($s->ok('publish', channel => 'b', data => 1), 'in all');
    $s->close(1000);
};


subtest 'a password beside the token' => sub {
    my $s = session('/basic', { @first },
                    headers => { Authorization => 'Basic YW5uOnBhc3M=' });

    is(auth($s, { @first })->{ok}{user}, 'ann@ann', 'is given again');
    $s->close(1000);
};


subtest 'rules of the location' => sub {
    my $s = session('/denied', { @first });

    is(auth($s, { @first, banned => 1 })->{error}{code}, 'unauthorized',
       'a rule refuses');
    is(auth($s, { @first, moved => 1 })->{error}{code}, 'unauthorized',
       'another location answers');
    ok(auth($s, { @first })->{ok}, 'neither');
    $s->close(1000);
};


subtest 'in an array, and between commands' => sub {
    my $s = session('/rt', { @first });
    my $b = token({ sub => 'ann', room => 'b' });

    my @r = $s->batch({ op => 'publish', channel => 'a', data => 1 },
                      { op => 'auth', token => $b },
                      { op => 'publish', channel => 'b', data => 1 },
                      { op => 'publish', channel => 'a', data => 1 });

    is_deeply([ map { $_->{error} ? $_->{error}{code} : 'ok' } @r ],
              [ 'ok', 'ok', 'ok', 'forbidden' ], 'each in its turn');

    my $id = $s->send_cmd('auth', token => token({ @first }));
    my $next = $s->send_cmd('publish', channel => 'a', data => 1);

    ok($s->reply($id)->{ok}, 'a command behind it');
    ok($s->reply($next)->{ok}, 'waits for it');
    $s->close(1000);
};


subtest 'a session is told of its end, and lives on' => sub {
    my $s = session('/soon', { sub => 'ann', exp => CORE::time() + 4 });

    cmp_ok(abs($s->welcome->{expires} - $s->welcome->{time} - 4000), '<', 1100,
           'the welcome says when it ends');

    my $told = $s->next_where(sub { $_[0]{expiring} }, 20);

    cmp_ok($told->{expiring}{in}, '<=', 2000, 'told before');
    cmp_ok($told->{expiring}{in}, '>', 0, 'in time');

    ok(auth($s, { sub => 'ann', exp => CORE::time() + 4 })->{ok}, 'renewed');
    ok($s->next_where(sub { $_[0]{expiring} }, 20), 'told again');
    ok($s->ok('ping'), 'beyond its first end');
    is($s->wait_close(20), 4401, 'it ends with its last token');
    is($s->close_reason, 'expired', 'and says so');

    my $back = session('/soon', { sub => 'ann' }, resume => $s->resume);

    ok($back->welcome->{resumed}, 'and may come back with a new one');
    $back->close(1000);
};


subtest 'fanout_session_max' => sub {
    my $s = session('/bounded', { sub => 'ann' });

    ok($s->next_where(sub { $_[0]{expiring} }, 20), 'told');
    ok(auth($s, { sub => 'ann' })->{ok}, 'a new token');
    is($s->wait_close(20), 4401, 'moves it not');

    my $stream = Fanout::Stream->new($nginx, '/bounded', channels => ['a'],
        headers => { Authorization => 'Bearer ' . token({ sub => 'ann' }) });

    cmp_ok($stream->welcome->{expires}, '>', $stream->welcome->{time},
           'a stream knows its end');

    my $told = $stream->next_event(20);

    while ($told && $told->{data} !~ /"expiring"/) {
        $told = $stream->next_event(20);
    }

    my $closed = $stream->next_push(20)->{closing};

    ok($told, 'a stream is told');
    is($closed->{status}, 4401, 'and ends');
};


subtest 'auth_request is asked again' => sub {
    my $name = 'Ann';
    my $ask  = sub { return { script(send => response(@_)) } };
    my $s = session('/asks', { sub => 'ann' }, headers => $ask->(200,
                    [ [ 'X-Name' => 'Ann' ] ], ''));

    $s->ok('join', channel => 'a', presence => {});

    my @asked = $backend->requests;

    ok(auth($s, { sub => 'ann', n => 1 })->{ok}, 'it allows');
    is(() = ($backend->requests)[-1] =~ /^Authorization:/mgi, 0,
       'no token where the handshake had none');
    $s->close(1000);

    $s = $nginx->native(path => '/asks', headers => { %{ $ask->(200, [], '') },
        Authorization => 'Bearer ' . token({ sub => 'ann', n => 2 }) });
    @asked = $backend->requests;
    ok(auth($s, { sub => 'ann', n => 3 })->{ok}, 'with a token in a header');

    my @again = $backend->requests;

    is(@again - @asked, 1, 'it was asked');
    my ($was) = $asked[-1] =~ /^(X-Addr:.*?)\r$/mi;
    my ($is)  = $again[-1] =~ /^(X-Addr:.*?)\r$/mi;
    is($is, $was, 'for the same address');
    is(() = $again[-1] =~ /^Authorization: Bearer /mgi, 1, 'one token');
    $s->close(1000);

    # what is no token gets nowhere, least of all into a header

    $s = $nginx->native(path => '/asks', headers => { %{ $ask->(200, [], '') },
        Authorization => 'Bearer ' . token({ sub => 'ann', n => 4 }) });
    @asked = $backend->requests;

    for my $bad ("x\r\nX-Admin: 1", "x\r\n\r\nGET / HTTP/1.1\r\n", "x\0", "x y",
                 "x\x7f", "x\x{e4}", "x\t", 'x,y', 'x"y')
    {
        is(auth($s, $bad)->{error}{code}, 'unauthorized', 'no token');
    }

    is(scalar($backend->requests), scalar(@asked), 'the backend is not asked');
    $s->close(1000);

    # a backend that hangs, closes early, fails

    for ([ 'hangs', 'unavailable', wait => 'never' ],
         [ 'closes', 'unavailable', close => 1 ],
         [ 'errs', 'unavailable', send => response(500, [], '') ],
         [ 'denies', 'unauthorized', send => response(403, [], '') ])
    {
        my ($how, $code, @script) = @$_;

        my $hidden = session('/asks', { sub => 'ann' }, headers => {
            script(send => response(200, [], '')) });
        my $other = session('/plain', {});

        # the same request has the same script, so the backend is replaced

        $hidden->ok('join', channel => 'a');
        $backend->override(@script);

        my $id = $hidden->send_cmd('auth', token => token({ sub => 'ann' }));

        $other->ok('publish', channel => 'a', data => $how);
        is($hidden->next_where(sub { defined $_[0]{data} }, 20)->{data}, $how,
           "while it $how, messages come");
        is($hidden->reply($id, 20)->{error}{code}, $code, "it $how");
        $backend->override;

        ok($hidden->ok('ping'), 'the session goes on');
        $_->cut for $hidden, $other;
    }
};


subtest 'a client that goes while it waits' => sub {
    for my $tls (0, 1) {
        my $s = session('/asks', { sub => 'ann' }, tls => $tls, headers => {
            script(send => response(200, [], '')) });

        $backend->override(wait => 'gone');
        $s->send_cmd('auth', token => token({ sub => 'ann' }));
        $backend->wait_requests(scalar($backend->requests));
        $s->cut;

        my $next = session('/plain', {});
        ok($next->ok('ping'), 'the worker lives');
        $backend->let('gone');
        $backend->override;
        ok($next->ok('ping'), 'and does when the answer comes');
        $next->cut;
    }
};


subtest 'it has its price' => sub {
    my $s = session('/rated', { @first });
    my $t = token({ @first });
    my @ids = map { $s->send_cmd('auth', token => $t) } 1 .. 40;
    my %got;

    for my $id (@ids) {
        my $r = $s->reply($id, 20);
        $got{ $r->{ok} ? 'ok' : $r->{error}{code} }++;
    }

    cmp_ok($got{rate_limited} || 0, '>', 0, 'some are refused');
    cmp_ok($got{ok} || 0, '<', 30, 'most are');
    $s->cut;
};


subtest 'who renews is logged' => sub {
    open my $f, '<', $nginx->dir . '/fanout.log' or die $!;
    my @lines = map { Fanout::JSON::decode($_) } <$f>;
    my ($auth) = grep { $_->{event} eq 'auth' } @lines;
    my @denied = grep { ($_->{op} // '') eq 'auth' } @lines;

    like($auth->{user}, qr/^ann\@/, 'the user');
    ok($auth->{client}, 'the client');
    ok((grep { $_->{reason} =~ /another user/ && $_->{status} == 403 } @denied)
       ? 1 : 0, 'who is refused as well, with the reason');
    ok((grep { $_->{status} == 401 } @denied) ? 1 : 0, 'a token, too');
};


subtest 'tokens are in no log' => sub {
    for my $file (qw( access.log error.log fanout.log )) {
        my $path = $nginx->dir . "/$file";
        open my $f, '<', $path or next;
        my $text = do { local $/; <$f> };
        my @tokens = $text =~ /(?<!Bearer )(eyJ[\w-]+\.[\w-]+\.[\w-]+)/g;

        is(scalar(@tokens), 0, "none in $file");
    }
};


$nginx->done_testing;
