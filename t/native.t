#!/usr/bin/env perl

# The native protocol: opening, ids, arrays, errors, limits, permissions. If
# this fails, clients wait for replies that never come or can't tell which
# command they belong to, or somebody reads or writes what is not his.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=100;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all *;
        }
        location /limits {
            fanout app;
            fanout_permit all *;
            fanout_ping 7s;
            fanout_message_size 1000;
            fanout_batch 4;
            fanout_channels_per_session 3;
            fanout_history 20;
        }
        location /rate {
            fanout app;
            fanout_permit all *;
            fanout_rate 4r/s burst=3;
        }
        location /any { fanout app; fanout_permit all *; fanout_rate off; }
        location /denied { fanout app; }
        location /some {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit join lobby room:*;
            fanout_permit publish,history room:*;
            fanout_permit all user:$fanout_user:* team:${http_x_team};
        }
        location /split {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all user:$fanout_user:* separators=allow;
            fanout_permit all dot·$fanout_user·* own:$fanout_user @$fanout_user
                              a$fanout_user*b mail/${fanout_user}.box
                              separators=refuse;
        }
        location /short { fanout app; fanout_permit all *; fanout_resume 0; }
END
);

my ($one, $two) = $nginx->worker_pids;


sub user {
    my ($user, %o) = @_;

    return $nginx->native(headers => { 'X-User' => $user }, %o);
}


# the text of the next frame, as it was sent

sub text_of {
    my ($ws, $json) = @_;

    $ws->send_text($json);

    return $ws->recv_text;
}


# code of an error, after checks that it has the right form

sub code {
    my ($reply, $message) = @_;

    my $e = $reply->{error} or return 'no error';

    return 'no message' if !length($e->{message} || '');
    return "message \"$e->{message}\"" if $message && $e->{message} !~ $message;
    return $e->{code};
}


subtest 'welcome' => sub {
    for my $worker ($one, $two) {
        my $ws = $nginx->native(worker => $worker);
        my $w  = $ws->welcome;

        like($w->{client}, qr/^c_[0-9a-z]+$/, 'client');
        like($w->{resume}, qr/^r_[0-9a-z]{32,}$/, 'resume');
        is($w->{ping}, 25000, 'ping');
        cmp_ok(abs($w->{time} / 1000 - time), '<', 60, 'time');
        is_deeply($w->{limits}, { message => 65536, batch => 64,
                                  channels => 50, history => 1000 }, 'limits');
        ok(!$w->{resumed} && defined $w->{resumed}, 'not resumed');
        is_deeply([ sort keys %$w ], [qw( client limits ping resume resumed
                                          time )], 'and no more');
        is($ws->subprotocol, 'fanout.v1', 'subprotocol');
    }

    is_deeply($nginx->native(path => '/limits')->welcome->{limits},
              { message => 1000, batch => 4, channels => 3, history => 20 },
              'limits of a location');
    is($nginx->native(path => '/limits')->welcome->{ping}, 7000, 'its ping');
    is(user("b\xc3\xb6b \"x\"")->welcome->{user}, "b\x{f6}b \"x\"", 'user');

    my $ws = $nginx->ws(path => '/realtime');
    like($ws->recv_text, qr/^\{"welcome":\{"client":"c_/, 'unasked for');
    is($ws->subprotocol, undef, 'without a subprotocol');

    my %seen;
    $seen{ $nginx->native->client }++ for 1 .. 20;
    is(scalar keys %seen, 20, 'every client is another');
};


subtest 'identity' => sub {
    my $ann = user('ann', worker => $one);
    my ($client, $resume) = ($ann->client, $ann->resume);

    $ann->cut;

    my $bob = user('bob', resume => $resume);
    isnt($bob->client, $client, 'another user can\'t have it');
    ok(!$bob->welcome->{resumed}, 'is told so');

    my $none = $nginx->native(resume => $resume);
    isnt($none->client, $client, 'nor can nobody');

    my $again = user('ann', resume => $resume, worker => $two);
    is($again->client, $client, 'the same user has it, at any worker');
    ok($again->welcome->{resumed}, 'is told so');
    isnt($again->resume, $resume, 'with another secret');

    # it answers the ping behind its welcome, and that has come
    $again->ok('ping') for 1 .. 2;

    isnt(user('ann', resume => $resume)->client, $client,
         'the old one is spent');

    my $taken = user('ann', resume => $again->resume, worker => $one);
    is($taken->client, $client, 'while the other is there');
    is($again->wait_close, 4409, 'which is replaced');
    ok($taken->ok('ping'), 'the new one is served');

    for my $bad ('', 'r_', 'r_zz', 'r_' . 'f' x 48, 'x' x 500,
                 substr($taken->resume, 0, -1), $taken->resume . '0')
    {
        ok(!user('ann', resume => $bad)->welcome->{resumed},
           'resumes with nothing like "' . substr($bad, 0, 8) . '"');
    }

    my $short = $nginx->native(path => '/short');
    $resume = $short->resume;
    $short->cut;
    ok(!$nginx->native(path => '/short', resume => $resume)
       ->welcome->{resumed}, 'nor where fanout_resume is 0');
};


subtest 'ids' => sub {
    my $ws = $nginx->native;

    for my $id (0, 1, -1, '1.50', '1e3', '123456789012345678901234567890',
                '""', '"a"', '"\u00e9\n"', "\"\xc3\xa9\"", '"' . 'x' x 128 . '"',
                '"' . '\u00e9' x 64 . '"')
    {
        my $text = text_of($ws, "{\"op\":\"ping\",\"id\":$id}");

        ok(index($text, "{\"id\":$id,\"ok\":{\"time\":") == 0,
           "$id comes back as it was sent") or diag($text);
    }

    for my $id ('null', 'true', '[1]', '{}', '"' . 'x' x 129 . '"',
                '1' x 129, '"' . '\u00e9' x 65 . '"', '"\ud800"')
    {
        my $r = Fanout::JSON::decode(
            text_of($ws, "{\"id\":$id,\"op\":\"ping\"}"));

        is(code($r, qr/"id"/), 'bad_request', substr($id, 0, 20) . ' is none');
        ok(!exists $r->{id}, 'and is not echoed');
    }
};


subtest 'no id' => sub {
    my $ws = $nginx->native;

    $ws->send_json({ op => 'ping' });
    $ws->send_json({ op => 'publish', channel => 'a', data => 1 });
    $ws->send_json({ op => 'join', channel => 'a' });
    is($ws->next_push->{ok}{channel}, 'a', 'only join replies ...');
    $ws->send_json({ op => 'history', channel => 'a' });
    is($ws->next_push->{ok}{messages}[0]{data}, 1, '... and history');
    $ws->send_json({ op => 'leave', channel => 'a' });
    $ws->ok('ping');
    is_deeply([ $ws->drain ], [], 'ping, publish and leave do not');

    $ws->send_json({ op => 'leave', channel => 'a' });
    my $e = $ws->next_push;
    is(code($e), 'not_joined', 'errors always reply');
    is_deeply([ $e->{at}, $e->{op} ], [ 0, 'leave' ], 'with at and op');
};


subtest 'what is no command' => sub {
    my $ws = $nginx->native;

    for (
        [ '', 'empty' ], [ ' ', 'blank' ], [ '{', 'cut' ], [ 'x', 'no JSON' ],
        [ '{"op":"ping"} {}', 'two values' ], [ '1', 'a number' ],
        [ '"ping"', 'a string' ], [ 'null', 'null' ], [ 'true', 'true' ],
        [ '{}', 'no op' ], [ '{"op":1}', 'op is a number' ],
        [ '{"op":"ping",}', 'a comma too many' ],
        [ "{\"op\":'ping'}", 'other quotes' ],
        [ '{"op":"ping","op":"ping"}', 'op twice' ],
        [ '{"op":"ping","\u006fp":"ping"}', 'op twice, once in disguise' ],
        [ "{\"op\":\"p\0ing\"}", 'NUL' ],
    ) {
        my $r = Fanout::JSON::decode(text_of($ws, $_->[0]));
        my $want = $_->[1] eq 'op is a number' ? 'unknown_op' : 'bad_request';

        is(code($r), $want, $_->[1]);
        ok(exists $r->{at} && !exists $r->{id}, 'with at, without id');
    }

    my $r = Fanout::JSON::decode(text_of($ws, '{"id":1,"id":2,"op":"ping"}'));

    is(code($r), 'bad_request', 'id twice');
    is($r->{id}, 1, 'the first is that of the error');

    for my $op ('x', '', 'Ping', 'ping ', 'signals', 'sets', 'auths',
                'x' x 300, "\0", '*')
    {
        my $r = $ws->cmd($op, channel => 'a', data => 1);
        is(code($r, qr/publish, signal, join, leave, history/), 'unknown_op',
           'op ' . Fanout::JSON::encode(substr $op, 0, 20));
    }

    $ws->send_json({ op => 'nope' });
    is($ws->next_push->{op}, 'nope', 'which one it was');

    is(code($ws->cmd('ping', more => 1)), 'bad_request',
       'a member that nobody knows');
    like(text_of($ws, " \t\r\n{\"\\u006fp\" : \"\\u0070ing\" , \"id\":1 }\n"),
         qr/^\{"id":1,"ok"/, 'escapes and blanks are no difference');
};


subtest 'arrays' => sub {
    for my $worker ($one, $two) {
        my $ws = $nginx->native(worker => $worker);
        my $ch = "array:$worker";

        $ws->send_json([
            { id => 'a', op => 'publish', channel => $ch, data => 'old' },
            { id => 'b', op => 'join', channel => $ch, history => 5 },
            { id => 'c', op => 'publish', channel => $ch, data => 'new' },
            { op => 'ping' },
            { id => 'd', op => 'ping' },
        ]);

        my $text = $ws->recv_text;
        my $all  = Fanout::JSON::decode($text);

        is(ref $all, 'ARRAY', 'one array of replies') or diag($text);
        is_deeply([ map { $_->{id} } @$all ], [qw( a b c d )], 'in order');
        ok(!(grep { !$_->{ok} } @$all), 'all went well');
        is_deeply([ map { $_->{data} } @{ $all->[1]{ok}{messages} } ],
                  [ 'old' ], 'a join tells what was there then');
        is($ws->next_push->{data}, 'new', 'the echo comes after the replies');
    }

    my $ws = $nginx->native;

    $ws->send_json([
        { id => 1, op => 'ping' }, 7, { op => 'nope' }, [], 'x',
        { op => 'publish', channel => 'a*', data => 1 },
        { op => 'publish', channel => 'b', data => 1 },
        { id => 2, op => 'leave', channel => 'b' }, { id => 3, op => 'ping' },
    ]);

    my $all = Fanout::JSON::decode($ws->recv_text);

    is_deeply([ map { exists $_->{id} ? "id $_->{id}" : "at $_->{at}" } @$all ],
              [ 'id 1', 'at 1', 'at 2', 'at 3', 'at 4', 'at 5', 'id 2',
                'id 3' ], 'errors don\'t stop it and say where they are');
    is_deeply([ map { $_->{op} } @$all ],
              [ undef, undef, 'nope', undef, undef, 'publish', undef, undef ],
              'and of what op');
    is_deeply([ map { code($_) } @$all[1 .. 6] ],
              [qw( bad_request unknown_op bad_request bad_request bad_request
                   not_joined )], 'and why');
    is($ws->ok('history', channel => 'b')->{offset}, 1,
       'what was good in it is done');

    $ws->send_text('[]');
    my $none = $ws->next_push(2);
    is(code($none), 'bad_request', 'an array without a command');
    like($none->{error}{message}, qr/at least one command/, 'says why');

    $ws->send_text('[{"op":"ping"}]');
    $ws->ok('ping');
    is_deeply([ $ws->drain ], [], 'nothing to say: no frame');

    $ws = $nginx->native(path => '/limits');
    is(scalar(grep { $_->{ok} } $ws->batch(map { { op => 'ping' } } 1 .. 4)), 4,
       'as many as fanout_batch says');
    $ws->send_json([ map { { id => $_, op => 'publish', channel => 'many',
                             data => $_ } } 1 .. 5 ]);
    my $r = $ws->next_push;
    is(code($r, qr/fanout_batch/), 'too_many', 'one more');
    is_deeply($r->{error}{data}, { limit => 'batch', max => 4 }, 'the limit');
    is($ws->ok('history', channel => 'many')->{offset}, 0, 'none is done');
};


subtest 'not text' => sub {
    my $ws = $nginx->native;

    $ws->send_binary('{"id":1,"op":"ping"}');
    is($ws->wait_close, 1003, 'binary');
};


subtest 'rate' => sub {
    for my $array (0, 1) {
        my $ws  = $nginx->native(path => '/rate');
        my @cmd = map { { id => "r$_", op => 'ping' } } 1 .. 8;

        $ws->send_json($_) for $array ? \@cmd : @cmd;

        my @r = map { $ws->reply("r$_") } 1 .. 8;

        is(scalar(grep { $_->{ok} } @r[0 .. 2]), 3, 'the burst');
        is(code($r[-1]), 'rate_limited', 'then it is enough');

        my $after = $r[-1]{error}{data}{retry_after};
        ok($after && $after >= 1 && $after <= 250, 'when to try again, in ms')
            or diag(explain($r[-1]));
        ok(wait_for(sub { $ws->cmd('ping')->{ok} }), 'and then it works');
    }

    my $ws = $nginx->native;
    is(scalar(grep { $_->{ok} }
              map { $ws->batch(map { { op => 'ping' } } 1 .. 50) } 1 .. 20),
       1000, 'the burst of the default');

    $ws = $nginx->native(path => '/any');
    is(scalar(grep { $_->{ok} }
              map { $ws->batch(map { { op => 'ping' } } 1 .. 64) } 1 .. 80),
       5120, 'no limit with off');
};


subtest 'permissions' => sub {
    my %try = (
        join    => sub { $_[0]->cmd('join', channel => $_[1]) },
        publish => sub { $_[0]->cmd('publish', channel => $_[1], data => 1) },
        history => sub { $_[0]->cmd('history', channel => $_[1]) },
        joinh   => sub { $_[0]->cmd('join', channel => $_[1], history => 1) },
    );

    my $may = sub {
        my ($ws, $channel) = @_;

        return join ' ', map {
            my $r = $try{$_}->($ws, $channel);
            my $name = $_ eq 'joinh' ? '(?:join|history)' : $_;

            $r->{ok} ? $_
                     : code($r, qr/fanout_permit $name/) eq 'forbidden'
                     ? () : explain($r)
        } sort keys %try;
    };

    my $ws = $nginx->native(path => '/denied');
    is($may->($ws, 'a'), '', 'nothing unless it is permitted');

    for my $worker ($one, $two) {
        my $ann = user('ann', path => '/some', worker => $worker);

        is($may->($ann, 'lobby'), 'join', 'by name');
        is($may->($ann, 'lobby2'), '', 'not what begins with it');
        is($may->($ann, 'room:7'), 'history join joinh publish',
           'by a pattern');
        is($may->($ann, 'user:ann:x'), 'history join joinh publish',
           'by a variable');
        is($may->($ann, 'user:bob:x'), '', 'not those of others');
        is($may->($ann, 'user:annx:x'), '', 'nor of longer names');
    }

    for my $user ('*', 'a*', '$http_x_user', '.*', '\\*', '%', '?') {
        my $eve = user($user, path => '/some');

        is($may->($eve, 'user:ann:x'), '', "\"$user\" is no pattern");
        is($may->($eve, "user:$user:x"), 'history join joinh publish',
           'but has its own') if $user !~ /\*/;
    }

    # the user "a" may all that begins with user:a:

    for my $user ('ann:b', ':ann', 'ann:', ':') {
        my $eve = user($user, path => '/some');

        is($may->($eve, "user:$user:x"), '',
           "the separator in a name grants nothing: \"$user\"");
        is($may->($eve, 'lobby'), 'join', 'but the rest is as it was');
    }

    my $sides = $nginx->native(path => '/some',
                               headers => { 'X-Team' => 'red:1' });
    is($may->($sides, 'team:red:1'), '', 'one that stands before it');
    ok($nginx->wait_log(qr/"(?:user|team):\S+" grants nothing .* separator/),
       'and it is said');

    my $split = user('x:y', path => '/split');
    is($may->($split, 'user:x:y:z'), 'history join joinh publish',
       'separators=allow');
    is($may->($split, 'own:x:y'), '', 'separators=refuse');
    is($may->(user("x\xc2\xb7y", path => '/split'), "dot\xb7x\xb7y\xb7z"), '',
       'one that is not ASCII');
    is($may->(user('x', path => '/split'), "dot\xb7x\xb7y"),
       'history join joinh publish', 'where it is none of the name');
    is($may->($split, '@x:y'), 'history join joinh publish',
       'another separator');
    is($may->($split, 'ax:yzb'), 'history join joinh publish',
       'neither letters nor * are separators');
    is($may->(user('x.y', path => '/split'), 'mail/x.y.box'), '',
       'the one behind it');
    is($may->(user('x:y/', path => '/split'), 'mail/x:y/.box'), '',
       'the one before it');
    is($may->(user('x-y', path => '/split'), 'mail/x-y.box'),
       'history join joinh publish', 'none of both');

    my $nobody = $nginx->native(path => '/some');
    is($may->($nobody, $_), '', "an empty variable grants nothing: $_")
        for 'user::x', 'user:ann:x', 'user:x', 'team:', 'team:a';
    is($may->($nobody, 'lobby'), 'join', 'the rest is as it was');

    my $team = $nginx->native(path => '/some', headers => { 'X-Team' => 'red' });
    is($may->($team, 'team:red'), 'history join joinh publish',
       'a variable at the end');
    is($may->($team, 'team:redder'), '', 'ends there');

    my $sneak = $nginx->native(path => '/some?user=ann&x_user=ann');
    is($may->($sneak, 'user:ann:x'), '', 'arguments are no identity');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
