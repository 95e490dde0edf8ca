#!/usr/bin/env perl

# history of the native protocol. If this fails, somebody who scrolls back
# misses messages, sees some twice or never reaches the beginning.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app few:* history=5;
        fanout_channel app none:*;
        fanout_channel app * history=2000;
END
    server => <<'END',
        location /realtime { fanout app; fanout_permit all *; }
        location /limits {
            fanout app;
            fanout_permit all *;
            fanout_history 20;
        }
        location /blind { fanout app; fanout_permit join,publish *; }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my @ws = map { $nginx->native(worker => $_) } $one, $two;

sub code { $_[0]{error} ? $_[0]{error}{code} : 'no error' }
sub offsets { [ map { $_->{offset} } @{ $_[0]{messages} } ] }

sub fill {
    my ($channel, $n) = @_;

    my $ok;

    for (my $i = 1; $i <= $n; $i += 50) {
        my $last = $i + 49 < $n ? $i + 49 : $n;

        $ok = $ws[0]->ok('publish', channel => $channel, messages => [
            map { { data => "d$_" } } $i .. $last ]);
    }

    return $ok->{epoch};
}

my $epoch = fill('h', 250);


subtest 'the reply' => sub {
    for my $ws (@ws) {
        my $ok = $ws->ok('history', channel => 'h', limit => 2);

        is($ok->{offset}, 250, 'the offset of the channel');
        is($ok->{epoch}, $epoch, 'its epoch');
        is_deeply(offsets($ok), [ 249, 250 ], 'the newest, oldest first');
        is($ok->{next}, 249, 'where to go on');
        is_deeply([ @{ $ok->{messages}[0] }{qw( data offset from )} ],
                  [ 'd249', 249, { client => $ws[0]->client } ], 'a message');

        is_deeply(offsets($ws->ok('history', channel => 'h')),
                  [ 151 .. 250 ], 'a hundred unless said otherwise');
        is_deeply(offsets($ws->ok('history', channel => 'h', limit => 1000)),
                  [ 1 .. 250 ], 'all');
        is($ws->ok('history', channel => 'h', limit => 1000)->{next}, undef,
           'then there is no next');

        is_deeply(offsets($ws->ok('history', channel => 'h', limit => 0)), [],
                  'none');
    }

    $ws[0]->ok('join', channel => 'j');
    is(code($ws[0]->cmd('history', channel => 'h')), 'no error',
       'no join is needed');
};


subtest 'before' => sub {
    for my $ws (@ws) {
        my $h = sub { $ws->ok('history', channel => 'h', @_) };

        is_deeply(offsets($h->(before => 11, limit => 3)), [ 8, 9, 10 ],
                  'the newest before it');
        is_deeply(offsets($h->(before => 3, limit => 5)), [ 1, 2 ],
                  'to the beginning');
        is($h->(before => 3, limit => 5)->{next}, undef, 'which is the end');
        is_deeply(offsets($h->(before => 1)), [], 'nothing is before the first');
        is_deeply(offsets($h->(before => 1000, limit => 2)), [ 249, 250 ],
                  'beyond the last');

        my ($next, @seen, @pages);

        for (1 .. 50) {
            my $ok = $h->(limit => 30, $next ? (before => $next) : ());
            unshift @seen, @{ offsets($ok) };
            $next = $ok->{next} or last;
        }

        is_deeply(\@seen, [ 1 .. 250 ], 'paged back: each once');
    }
};


subtest 'since' => sub {
    for my $ws (@ws) {
        my $h = sub {
            my ($offset, %o) = @_;
            $ws->ok('history', channel => 'h',
                    since => { epoch => $epoch, offset => $offset }, %o);
        };

        is_deeply(offsets($h->(245)), [ 246 .. 250 ], 'what is after it');
        is_deeply(offsets($h->(10, limit => 3)), [ 11 .. 13 ],
                  'the oldest of them');
        is_deeply(offsets($h->(10, before => 13)), [ 11, 12 ], 'between');
        is_deeply(offsets($h->(250)), [], 'none');
        ok($h->(250)->{recovered}, 'recovered');

        my ($at, @seen) = (0);

        for (1 .. 50) {
            my $ok = $h->($at, limit => 30);
            push @seen, @{ offsets($ok) };
            $at = $ok->{next} or last;
        }

        is_deeply(\@seen, [ 1 .. 250 ], 'paged forward: each once');

        for my $e ('f' x 16, 'nonsense', '0' x 16, '') {
            my $ok = $ws->ok('history', channel => 'h',
                             since => { epoch => $e, offset => 1 });
            ok(defined $ok->{recovered} && !$ok->{recovered},
               "epoch \"$e\": not recovered");
            is($ok->{epoch}, $epoch, 'and told the right one');
        }
    }

    my $e = fill('few:h', 9);
    my $ok = $ws[1]->ok('history', channel => 'few:h',
                        since => { epoch => $e, offset => 4 });
    is_deeply(offsets($ok), [ 5 .. 9 ], 'all that is kept');
    ok($ok->{recovered}, 'recovered');
    $ok = $ws[1]->ok('history', channel => 'few:h',
                     since => { epoch => $e, offset => 2 });
    is_deeply(offsets($ok), [ 5 .. 9 ], 'less is kept');
    ok(!$ok->{recovered}, 'not recovered');
};


subtest 'nothing there' => sub {
    for my $ws (@ws) {
        my $ok = $ws->ok('history', channel => 'never');
        is_deeply([ @$ok{qw( messages offset next )} ], [ [], 0, undef ],
                  'nobody said anything');

        $ok = $ws->ok('history', channel => 'never',
                      since => { epoch => $epoch, offset => 3 });
        ok(!$ok->{recovered}, 'since an epoch that was never there');
        $ok = $ws->ok('history', channel => 'never',
                      since => { epoch => 'x', offset => 0 });
        ok(!$ok->{recovered}, 'or what is no epoch at all');
    }

    fill('none:h', 3);
    my $ok = $ws[1]->ok('history', channel => 'none:h');
    is_deeply([ @$ok{qw( messages offset )} ], [ [], 3 ], 'nothing is kept');
};


subtest 'what is wrong' => sub {
    my $ws = $ws[1];

    for my $name (qw( limit before )) {
        is(code($ws->cmd('history', channel => 'h', $name => $_)),
           'bad_request', "$name " . Fanout::JSON::encode($_))
            for -1, 0.5, '1', {}, Fanout::JSON::true, 1e30;
    }

    is(code($ws->cmd('history', channel => 'h', since => $_)), 'bad_request',
       'since ' . Fanout::JSON::encode($_))
        for 1, 'x', {}, { epoch => $epoch }, { epoch => $epoch, offset => -1 };

    my $few = $nginx->native(path => '/limits');
    my $r = $few->cmd('history', channel => 'h', limit => 21);
    is(code($r), 'too_many', 'more than fanout_history');
    is_deeply($r->{error}{data}, { limit => 'limit', max => 20 }, 'the limit');
    like($r->{error}{message}, qr/fanout_history/, 'and the directive');
    is(scalar @{ $few->ok('history', channel => 'h')->{messages} }, 20,
       'the default is not more');

    $r = $nginx->native(path => '/blind')->cmd('history', channel => 'h');
    is(code($r), 'forbidden', 'without the permission');
    like($r->{error}{message}, qr/fanout_permit history/, 'which one');
};

$_->ok('ping') for @ws;
is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
