#!/usr/bin/env perl

# join and leave of the native protocol. If this fails, a client that comes
# back misses or repeats messages and isn't told, hears what it did not ask
# for, or a long history breaks the order of what comes after it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;
        fanout_channel app none:*;
        fanout_channel app few:* history=5;
        fanout_channel app long:* history=400;
        fanout_channel app * history=2000;
END
    server => <<'END',
        location /realtime { fanout app; fanout_permit all *; }
        location /limits {
            fanout app;
            fanout_permit all *;
            fanout_channels_per_session 3;
            fanout_history 20;
        }
        location /blind { fanout app; fanout_permit join,publish *; }
        location /small {
            fanout app;
            fanout_permit all *;
            fanout_buffer 8k;
        }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;

sub publish {
    my ($channel, @data) = @_;

    my $at;

    $at = $http->post("/api/channels/$channel/messages",
                      Fanout::JSON::encode($_))->json for @data;
    return $at;
}

sub data { [ map { $_->{data} } @{ $_[0]{messages} } ] }
sub code { $_[0]{error} ? $_[0]{error}{code} : 'no error' }

sub purge {
    my ($channel) = @_;

    $http->delete("/api/channels/$channel?reason=tidy");
}

my ($ann, $bob) = map { $nginx->native(worker => $_) } $one, $two;


subtest 'the reply' => sub {
    my $ok = $ann->ok('join', channel => 'reply');

    is_deeply([ sort keys %$ok ], [qw( channel epoch messages offset )],
              'members');
    is($ok->{channel}, 'reply', 'channel');
    like($ok->{epoch}, qr/^[0-9a-f]+$/, 'epoch');
    is($ok->{offset}, 0, 'offset');
    is_deeply($ok->{messages}, [], 'no messages');

    is($bob->ok('join', channel => 'reply')->{epoch}, $ok->{epoch},
       'the same epoch at the other worker');

    my $at = publish('reply', 'x');
    is($at->{epoch}, $ok->{epoch}, 'and for a publish');

    for my $ws ($ann, $bob) {
        my $m = $ws->next_push;
        is_deeply([ @$m{qw( channel offset data time )} ],
                  [ 'reply', 1, 'x', $at->{time} ], 'what is delivered');
    }
};


subtest 'history' => sub {
    publish('h', 1 .. 9);

    for my $ws ($ann, $bob) {
        is_deeply(data($ws->ok('join', channel => 'h', history => 3)),
                  [ 7 .. 9 ], 'the newest, oldest first');
        $ws->ok('leave', channel => 'h');
    }

    my $ws = $nginx->native(path => '/limits');

    my $ok = $ws->ok('join', channel => 'h', history => 20);
    is_deeply(data($ok), [ 1 .. 9 ], 'all there is');
    is($ok->{offset}, 9, 'the offset');
    is_deeply([ sort keys %{ $ok->{messages}[0] } ],
              [qw( data offset time )], 'members of a message');
    is_deeply([ map { $_->{offset} } @{ $ok->{messages} } ], [ 1 .. 9 ],
              'their offsets');
    is_deeply(data($ws->ok('join', channel => 'h', history => 0)), [], 'none');

    my $r = $ws->cmd('join', channel => 'h', history => 21);
    is(code($r), 'too_many', 'more than fanout_history');
    is_deeply($r->{error}{data}, { limit => 'history', max => 20 },
              'the limit');

    for my $n (-1, 1.5, '1', Fanout::JSON::true, [], {}, 1e30) {
        is(code($ws->cmd('join', channel => 'h', history => $n)), 'bad_request',
           'history ' . Fanout::JSON::encode($n));
    }

    my $blind = $nginx->native(path => '/blind');
    $r = $blind->cmd('join', channel => 'h', history => 1);
    is(code($r), 'forbidden', 'without the permission');
    like($r->{error}{message}, qr/fanout_permit history/, 'which one');
    is(code($blind->cmd('leave', channel => 'h')), 'not_joined',
       'then there is no join either');
    ok($blind->ok('join', channel => 'h'), 'without history it is fine');
};


subtest 'since' => sub {
    my $epoch = publish('s', 1 .. 5)->{epoch};

    for my $ws ($ann, $bob) {
        my $since = sub {
            my ($offset, %o) = @_;

            my $ok = $ws->ok('join', channel => 's', since => {
                epoch => $epoch, offset => $offset }, %o);
            $ws->ok('leave', channel => 's');
            return $ok;
        };

        my $ok = $since->(2);
        is_deeply(data($ok), [ 3, 4, 5 ], 'exactly what was missed');
        is($ok->{missed}, 3, 'how many');
        ok($ok->{recovered}, 'recovered');
        is_deeply([ sort keys %$ok ], [qw( channel epoch messages missed offset
                                           recovered )], 'members');

        $ok = $since->(5);
        is_deeply(data($ok), [], 'nothing missed');
        is($ok->{missed}, 0, 'none');
        ok($ok->{recovered}, 'recovered');

        is_deeply(data($since->(0)), [ 1 .. 5 ], 'all of it');
        is_deeply(data($since->(3, history => 5)), [ 4, 5 ],
                  'beats history');

        $ok = $since->(6);
        ok(!$ok->{recovered}, 'a place that is not reached yet');

        for my $e ('0' x 16, 'f' x 16, 'nonsense', '', "\x{e9}") {
            my $ok = $ws->ok('join', channel => 's',
                             since => { epoch => $e, offset => 2 });
            ok(defined $ok->{recovered} && !$ok->{recovered},
               'another epoch: not recovered');
            is($ok->{epoch}, $epoch, 'told the right one');
            is($ok->{offset}, 5, 'and the offset');
            $ws->ok('leave', channel => 's');
        }

        for my $bad (1, 'x', [], {}, { epoch => $epoch }, { offset => 1 },
                     { epoch => 1, offset => 1 },
                     { epoch => $epoch, offset => '1' },
                     { epoch => $epoch, offset => -1 },
                     { epoch => $epoch, offset => 0.5 })
        {
            is(code($ws->cmd('join', channel => 's', since => $bad)),
               'bad_request', 'since ' . Fanout::JSON::encode($bad));
        }
    }

    my $blind = $nginx->native(path => '/blind');
    is_deeply(data($blind->ok('join', channel => 's', since => {
        epoch => $epoch, offset => 3 })), [ 4, 5 ],
        'what was missed is no history');

    $epoch = publish('few:s', 1 .. 9)->{epoch};

    my $ok = $ann->ok('join', channel => 'few:s',
                      since => { epoch => $epoch, offset => 4 });
    is_deeply(data($ok), [ 5 .. 9 ], 'as far back as the policy keeps');
    ok($ok->{recovered}, 'recovered');
    $ok = $bob->ok('join', channel => 'few:s',
                   since => { epoch => $epoch, offset => 3 });
    ok(!$ok->{recovered}, 'one more: not recovered');

    $epoch = publish('none:s', 1 .. 3)->{epoch};
    $ok = $ann->ok('join', channel => 'none:s',
                   since => { epoch => $epoch, offset => 3 });
    ok($ok->{recovered}, 'no history: nothing missed is recovered');
    $ok = $bob->ok('join', channel => 'none:s',
                   since => { epoch => $epoch, offset => 2 });
    ok(!$ok->{recovered}, 'something missed is not');

    $ok = $ann->ok('join', channel => 'never', since => {
        epoch => $epoch, offset => 0 });
    ok(!$ok->{recovered}, 'nor in a channel that was never there');
};


# what a client with these options gets of: own plain, own with event a, own
# with event b, other's with event a, other's plain

subtest 'options' => sub {
    my $n = 0;

    my $gets = sub {
        my (%o) = @_;

        my $ch = 'options' . ++$n;

        my $ws = $nginx->native(worker => $n % 2 ? $one : $two);
        $ws->ok('join', channel => $ch, %o);
        $ws->ok('publish', channel => $ch, data => 'mine');
        $ws->ok('publish', channel => $ch, data => 'mine-a', event => 'a');
        $ws->ok('publish', channel => $ch, data => 'mine-b', event => 'b');
        $ann->ok('publish', channel => $ch, data => 'a', event => 'a');
        $bob->ok('publish', channel => $ch, data => 'plain');

        $ws->ok('join', channel => "$ch-end");
        publish("$ch-end", 'end');

        my @got;

        while (my $m = $ws->next_push) {
            last if $m->{data} eq 'end';
            push @got, $m->{data};
        }

        return "@got";
    };

    my ($true, $false) = (Fanout::JSON::true, Fanout::JSON::false);

    is($gets->(), 'mine mine-a mine-b a plain', 'all');
    is($gets->(echo => $true), 'mine mine-a mine-b a plain', 'echo');
    is($gets->(echo => $false), 'a plain', 'no echo');
    is($gets->(events => ['a']), 'mine-a a', 'one event');
    is($gets->(events => [qw( a b )]), 'mine-a mine-b a', 'two');
    is($gets->(events => []), '', 'none');
    is($gets->(events => ['a'], echo => $false), 'a', 'both');
    is($gets->(want => ['messages']), 'mine mine-a mine-b a plain',
       'messages are wanted');
    is($gets->(want => [qw( signals messages )]),
       'mine mine-a mine-b a plain', 'among others');
    is($gets->(want => []), '', 'nothing is wanted');
    is($gets->(want => ['signals']), '', 'signals are no messages');

    my %bad = (echo => [ 1, 'no', undef, [] ],
               want => [ 'messages', 1, {}, undef, [ 'later' ], [ 'messages', 1 ] ],
               events => [ 'a', {}, [ 1 ], [ 'a', [] ], [ "\x01" ], [ '' ],
                           [ 'x' x 129 ], [ ('a') x 65 ] ]);

    for my $name (sort keys %bad) {
        is(code($ann->cmd('join', channel => 'bad', $name => $_)),
           'bad_request', "$name " . substr Fanout::JSON::encode($_), 0, 30)
            for @{ $bad{$name} };
    }

    is(code($ann->cmd('leave', channel => 'bad')), 'not_joined',
       'a bad one joins nothing');

    my $ws = $nginx->native;
    $ws->ok('publish', channel => 'h2', data => $_, event => $_)
        for qw( a b a );
    is_deeply(data($ws->ok('join', channel => 'h2', history => 9,
                           events => ['a'])), [qw( a a )],
              'history is filtered too');
    is_deeply(data($ws->ok('join', channel => 'h2', history => 9,
                           echo => $false)), [], 'and without its own');
};


subtest 'joining again' => sub {
    my $ws = $nginx->native(worker => $one);

    $ws->ok('join', channel => 'again');
    $ws->ok('join', channel => 'again');
    publish('again', 1);
    is($ws->next_push->{data}, 1, 'a message');

    is_deeply(data($ws->ok('join', channel => 'again', history => 1)), [ 1 ],
              'history when asked for');
    $ws->ok('join', channel => 'again', events => ['e']);
    publish('again', 2);
    $bob->ok('publish', channel => 'again', event => 'e', data => 3);
    is($ws->next_push->{data}, 3, 'other options');

    $ws->ok('join', channel => 'again');
    publish('again', 4);
    is($ws->next_push->{data}, 4, 'options are replaced');
    $ws->ok('ping');
    is_deeply([ $ws->drain ], [], 'each came once');

    # amid messages: all come once, in the reply or after it

    my $id = 0;

    for my $i (1 .. 50) {
        $bob->send_cmd('publish', channel => 'amid', data => $i);
        $ws->send_json({ id => "j$i", op => 'join', channel => 'amid' });
    }

    $bob->ok('publish', channel => 'amid', data => 'end');

    my @got;

    while (my $m = $ws->next_push) {
        last if $m->{data} eq 'end';
        push @got, $m->{data};
    }

    my $first = $got[0] || 51;
    is_deeply(\@got, [ $first .. 50 ], 'no gap, no duplicate');
};


subtest 'leave' => sub {
    my $ws = $nginx->native(worker => $two);

    $ws->ok('join', channel => $_) for qw( go stay );
    is_deeply($ws->ok('leave', channel => 'go'), {}, 'an empty reply');
    publish('go', 1);
    publish('stay', 2);
    is($ws->next_push->{data}, 2, 'no more of it');

    my $r = $ws->cmd('leave', channel => 'go');
    is(code($r), 'not_joined', 'twice');
    is(code($ws->cmd('leave', channel => 'other')), 'not_joined', 'never');

    $ws->ok('join', channel => 'go', history => 1);
    publish('go', 3);
    is($ws->next_push->{data}, 3, 'back again');
};


subtest 'too many channels' => sub {
    my $ws = $nginx->native(path => '/limits');

    $ws->ok('join', channel => "many$_") for 1 .. 3;

    my $r = $ws->cmd('join', channel => 'many4');
    is(code($r), 'too_many', 'one more');
    is_deeply($r->{error}{data}, { limit => 'channels', max => 3 },
              'the limit');
    like($r->{error}{message}, qr/fanout_channels_per_session/,
         'names the directive');
    ok($ws->ok('join', channel => 'many2'), 'again is no other');
    $ws->ok('leave', channel => 'many1');
    ok($ws->ok('join', channel => 'many4'), 'a place that is free again');
    publish('many4', 'here');
    is($ws->next_push->{data}, 'here', 'works');
};


subtest 'names' => sub {
    my @good = ('a', 'x' x 255, "\x{e9}" x 127, "\x{1f600}", 'a b', '"', '\\',
                "\x{2028}", '/', '%2F', '.', '..', ' ', '?', "\x{feff}",
                '$user', '#');
    my @bad  = ('', 'x' x 256, "\x{e9}" x 128, '*', 'a*', "\0", "a\0b", "\n",
                "\x7f", "\x{85}", "\x{9f}", 1, undef, [], {}, Fanout::JSON::true);

    for my $name (@good) {
        for my $pair ([ $ann, $bob ], [ $bob, $ann ]) {
            my ($in, $out) = @$pair;

            is($in->ok('join', channel => $name)->{channel}, $name, 'a name');
            $out->ok('publish', channel => $name, data => 1);

            my $m = $in->next_push;
            is($m->{channel}, $name, 'comes back as it is');
            $in->ok('leave', channel => $name);
        }
    }

    for my $name (@bad) {
        for my $op (qw( join leave publish history )) {
            my $r = $ann->cmd($op, channel => $name,
                              $op eq 'publish' ? (data => 1) : ());
            is(code($r), 'bad_request',
               "$op " . substr Fanout::JSON::encode($name), 0, 20);
            like($r->{error}{message}, qr/"channel"/, 'says what is wrong');
        }
    }

    is(code($ann->cmd('join')), 'bad_request', 'none at all');

    $ann->send_text('{"id":"s","op":"join","channel":"a\ud800"}');
    is(code($ann->reply('s')), 'bad_request', 'half a surrogate');

    $ann->send_text('{"id":"t","op":"join","channel":"\ud83d\ude00"}');
    is($ann->reply('t')->{ok}{channel}, "\x{1f600}", 'a whole one');
};


subtest 'purged' => sub {
    my @in = map { $nginx->native(worker => $_) } $one, $two;
    my $epoch;

    publish('p', 1, 2);
    $epoch = $_->ok('join', channel => 'p')->{epoch} for @in;

    is(purge('p')->{status}, 200, 'a purge');

    my $new;

    for my $ws (@in) {
        my $m = $ws->next_push;

        is($m->{channel}, 'p', 'tells those who are there');
        is_deeply([ sort keys %{ $m->{reset} } ], [qw( epoch offset reason )],
                  'of a reset');
        is($m->{reset}{offset}, 0, 'its offset');
        is($m->{reset}{reason}, 'tidy', 'its reason');
        isnt($m->{reset}{epoch}, $epoch, 'another epoch');
        $new = $m->{reset}{epoch};
    }

    my $at = publish('p', 3);
    is_deeply([ @$at{qw( epoch offset )} ], [ $new, 1 ], 'counts from 1 again');
    is($_->next_push->{data}, 3, 'they are still in it') for @in;

    my $ok = $in[0]->ok('join', channel => 'p',
                        since => { epoch => $epoch, offset => 1 });
    ok(!$ok->{recovered}, 'the old epoch is not recovered');
    $ok = $in[0]->ok('join', channel => 'p',
                     since => { epoch => $new, offset => 0 });
    ok($ok->{recovered}, 'the new one is');
    is_deeply(data($ok), [ 3 ], 'with all of it');
};


# A reader that does not read, a log that moves on: what it gets is whole but
# for what it is told of.

subtest 'gap' => sub {
    for my $worker ($one, $two) {
        my $ch = "few:gap$worker";
        my $ws = $nginx->native(path => '/small', worker => $worker,
                                rcvbuf => 4096);
        $ws->ok('join', channel => $ch);

        my $n = 0;
        my $pad = 'x' x 30_000;

        publish($ch, map { [ $_, $pad ] } 1 .. 200);
        publish($ch, 'end');

        my ($next, $gaps, $bad) = (1, 0, 0);

        while (my $m = $ws->next_push) {
            if (my $gap = $m->{gap}) {
                $gaps++;
                $bad++ if $gap->{from} != $next || $gap->{to} < $gap->{from}
                       || $m->{channel} ne $ch;
                $next = $gap->{to} + 1;
                next;
            }

            $bad++ if $m->{offset} != $next++;
            last if !ref $m->{data};
        }

        is($next, 202, 'all is accounted for');
        is($bad, 0, 'nothing twice, nothing skipped silently');
        cmp_ok($gaps, '>', 0, 'told of what is gone');
    }
};


# large replies: parts, then ok; nothing of the channel between them

sub long_one {
    my ($op, $ch, %o) = @_;

    my $slow = delete $o{slow};
    my $ws = $nginx->native(path => '/small', worker => delete $o{worker},
                            $slow ? (rcvbuf => 4096) : ());

    $ws->ok('join', channel => $ch) if $op eq 'history';
    my $id = $ws->send_cmd($op, channel => $ch, %o);
    $ws->send_json([ { id => 'then', op => 'ping' } ]);

    my ($sent, $reading, $end) = (0, !$slow, '');
    my (@state, @live, @order, $ok);

    while (1) {
        if ($sent < 60) {
            publish($ch, 'live' . ++$sent . 'x' x 500);
            next if $slow && $sent < 60;
        }

        my $text = $ws->recv_text($sent < 60 ? 0 : 10);

        next if !defined $text && $sent < 60;
        last if !defined $text;

        my $v = Fanout::JSON::decode($text);

        for my $m (ref $v eq 'ARRAY' ? @$v : $v) {
            my $from = $m->{part} || $m->{ok};

            if ($from && $from->{messages}) {
                push @order, $m->{part} ? 'part' : 'ok';
                push @state, @{ $from->{messages} };
                $ok = $m->{ok} if $m->{ok};

            } elsif (($m->{id} || '') eq 'then') {
                push @order, 'then';

            } else {
                push @order, 'live' if !@order || $order[-1] ne 'live';
                push @live, $m;
            }
        }

        next if "@order" !~ /then/;

        # a join that was read late has all of it in its reply

        last if @live && $live[-1]{data} =~ /^live60x/;
        last if $op eq 'join' && $state[-1]{data} =~ /^live60x/;
    }

    return ($ok, \@state, \@live, join ' ', @order);
}

subtest 'parts' => sub {
    my $pad = 'p' x 2000;
    my $n = 0;

    for my $case ([ join => history => 300 ], [ history => limit => 300 ]) {
        for my $slow (0, 1) {
            my $worker = $slow ? $one : $two;
            my ($op, $name, $count) = @$case;
            my $ch = "parts" . ++$n;

            publish($ch, map { "old$_$pad" } 1 .. 300);

            my ($ok, $state, $live, $order)
                = long_one($op, $ch, $name => $count, slow => $slow,
                           worker => $worker);
            my $what = "$op, " . ($slow ? 'slow' : 'quick');

            like($order, qr/^(?:live )?(?:part ){2,}ok (?:live )?then/,
                 "$what: parts, then ok, nothing between")
                or diag($order);
            is(scalar @$state, 300, "$what: all of it");

            my @offsets = map { $_->{offset} } @$state;
            is_deeply(\@offsets, [ $offsets[0] .. $offsets[0] + 299 ],
                      "$what: in order");
            is($offsets[-1], $ok->{offset}, "$what: up to ok.offset");

            my @after = map { $_->{offset} } @$live;
            my @want  = $op eq 'join' ? ($ok->{offset} + 1 .. 360)
                                      : (301 .. 360);
            is_deeply(\@after, \@want, "$what: what comes live goes on there");
        }
    }
};

# A reply that is read slowly, and a log that moves on meanwhile: what is told
# of before the hole, the hole, and what is behind it.

subtest 'a hole in a reply' => sub {
    my $pad = 'x' x 20_000;
    my $n = 0;

    for my $case ([ join => history => 400 ], [ history => limit => 400 ],
                  [ join => 'since' ], [ history => 'since' ])
    {
        my ($op, $name, $value) = @$case;
        my $ch = 'long:' . ++$n;

        my $first = publish($ch, "1 $pad");
        publish($ch, map { "$_ $pad" } 2 .. 400);

        $value ||= { epoch => $first->{epoch}, offset => 0 };

        my $ws = $nginx->native(path => '/small', rcvbuf => 4096);
        my $id = $ws->send_cmd($op, channel => $ch, $name => $value,
                               $op eq 'history' ? (limit => 400) : ());

        # it has begun, and can't go on

        my $begun = $ws->recv_text(20);
        like(substr($begun // '', 0, 40), qr/"part"/, "$op, $name: begun");

        publish($ch, map { "$_ $pad" } 401 .. 780);

        my ($last, $holes, $bad, $ok) = (0, 0, 0);

        for (my $text = $begun; defined $text; $text = $ws->recv_text(20)) {
            my $m = Fanout::JSON::decode($text);
            my $from = $m->{part} || $m->{ok} || last;

            if (my $gap = $from->{gap}) {
                $holes++;
                $bad++ if $gap->{from} != $last + 1
                          || $gap->{to} < $gap->{from};
                $last = $gap->{to};
            }

            for my $message (@{ $from->{messages} }) {
                $bad++ if $message->{offset} != ++$last
                          || $message->{data} !~ /^$last x/;
            }

            last if $ok = $m->{ok};
        }

        is($ok->{offset}, 400, "$op, $name: the reply");
        is($bad, 0, "$op, $name: nothing twice, nothing skipped silently");

        if ($name eq 'since') {
            is($ok->{recovered}, Fanout::JSON::false, "$op, $name: not all");
        }

        if ($op eq 'join' && $name eq 'since') {
            is_deeply($ok->{messages}, [], "$op, $name: read it anew");
            is($holes, 0, "$op, $name: so no hole is told");

        } else {
            is($last, 400, "$op, $name: up to ok.offset");
            is($holes, 1, "$op, $name: told of what is gone");
        }
    }
};

$_->ok('ping') for $ann, $bob;
is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
